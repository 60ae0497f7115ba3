//! `completions` and `man`: scripts that shells run, and pages that readers of manuals format.

use std::process::{Command, Output, Stdio};

use socketserver_tests::build;

use crate::fixture::host;

fn output(arguments: &[&str]) -> String {
    let output = host().args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what bash proposes for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$0\" completions bash)
        COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))
        function=$(complete -p wasm-socketserver)
        function=${function#*-F }
        ${function%% *} wasm-socketserver \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).arg(build::host().unwrap()).arg("wasm-socketserver").args(words);
    let Output { status, stdout, stderr } = bash.output().unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn bash_completes_commands_options_and_words() {
    assert_eq!(completed(&["re"]), ["reload"]);
    assert_eq!(completed(&["serve", "--concurr"]), ["--concurrency"]);
    assert_eq!(completed(&["serve", "--concurrency", "f"]), ["fibers", "forking"]);
    assert_eq!(completed(&["completions", "b"]), ["bash"]);
    let commands = completed(&[""]);
    for name in ["new", "serve", "up", "man"] {
        assert!(commands.iter().any(|command| command == name), "{commands:?}");
    }
    // Commands that only this program calls are no proposals.
    assert_eq!(completed(&["gen"]), [""]);
    assert!(!commands.iter().any(|command| command == "broker"), "{commands:?}");
}

#[test]
fn shells_that_are_not_there_have_scripts_too() {
    let zsh = output(&["completions", "zsh"]);
    assert!(zsh.starts_with("#compdef wasm-socketserver\n") && zsh.contains("--concurrency="));
    let fish = output(&["completions", "fish"]);
    assert!(fish.contains("complete -c wasm-socketserver") && fish.contains("-l concurrency"));
    for text in [zsh, fish] {
        assert!(!text.contains("broker"), "{text}");
    }
    let wrong = host().args(["completions", "ksh"]).output().unwrap();
    let text = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{text}");
    assert!(text.contains("bash, zsh, fish"), "{text}");
}

/// Returns a page as words, and what groff complains about. `None` without groff.
fn formatted(page: &str) -> Option<(String, String)> {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-ww", "-P-cbou"]);
    groff.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut groff = groff.spawn().ok()?;
    std::io::Write::write_all(&mut groff.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = groff.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let words: Vec<_> =
        output.stdout.split(u8::is_ascii_whitespace).filter(|it| !it.is_empty()).collect();
    Some((text(words.join(&b' ')), text(output.stderr)))
}

#[test]
fn each_command_has_a_page_that_groff_formats() {
    let help = output(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    // A line that goes on begins with more blanks.
    let is_name = |line: &&str| !line.starts_with("   ");
    let commands = commands.lines().take_while(|line| !line.is_empty()).filter(is_name);
    let names: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"serve") && names.contains(&"man"), "{names:?}");
    for name in names {
        let page = output(&["man", name]);
        let Some((text, errors)) = formatted(&page) else {
            println!("skipped: groff is not installed");
            return;
        };
        assert!(errors.is_empty(), "{name}: {errors}");
        assert!(text.contains(&format!("wasm-socketserver-{name} - ")), "{text}");
    }
    let (text, errors) = formatted(&output(&["man"])).unwrap();
    assert!(errors.is_empty(), "{errors}");
    assert!(text.contains("wasm-socketserver-serve(1)") && !text.contains("broker"), "{text}");
    let (text, _) = formatted(&output(&["man", "serve"])).unwrap();
    assert!(text.contains("--concurrency") && text.contains("Exit codes: 0 after"), "{text}");
    let wrong = host().args(["man", "broker"]).output().unwrap();
    let text = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    assert!(text.contains("the commands are new, serve, run"), "{text}");
}
