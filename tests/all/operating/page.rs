//! The code blocks of a page.

/// A part of a code block.
pub enum Block {
    /// Commands, without their answers.
    Commands(Vec<String>),
    /// A command, and all that it prints.
    Asked { command: String, answer: String },
    /// A file, whose path stands in its first line.
    File { path: String, content: String },
}

/// Returns the parts of all code blocks of a page.
///
/// # Panics
///
/// A block is of a kind that is unknown here.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "sh" => blocks.push(Block::Commands(commands(&code))),
            "console" => blocks.extend(asked(&code)),
            "toml" | "ini" => {
                let path = code[0].strip_prefix("# ").filter(|path| path.starts_with('/'));
                let path = path.unwrap_or_else(|| panic!("no path: {}", code[0])).to_owned();
                blocks.push(Block::File { path, content: code.join("\n") + "\n" });
            }
            kind => panic!("the page has a block of the unknown kind `{kind}`"),
        }
    }
    blocks
}

/// Returns the commands of these lines. A backslash at the end joins a line with the next one.
fn commands(lines: &[&str]) -> Vec<String> {
    let joined = lines.join("\n").replace("\\\n", " ");
    joined.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Returns the commands after `$`, with the lines up to the next one.
fn asked(lines: &[&str]) -> Vec<Block> {
    let text = format!("\n{}\n", lines.join("\n"));
    let parts = text.split("\n$ ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, "")));
    let blocks = parts.map(|(command, answer)| Block::Asked {
        command: command.to_owned(),
        answer: answer.trim_end().to_owned(),
    });
    blocks.collect()
}
