//! A program without an SDK: its standard input and output are the client. The first argument
//! says what it does.

use std::io::{self, BufRead, Read, Write, stdin, stdout};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let mode = std::env::args().nth(1).unwrap_or_else(|| "cat".to_owned());
    match mode.as_str() {
        "cat" => io::copy(&mut stdin(), &mut stdout()).map(drop)?,
        // The sample `upper`: the answer to one read.
        "once" => {
            let mut data = [0; 1024];
            let count = stdin().read(&mut data)?;
            stdout().write_all(&data[..count].trim_ascii().to_ascii_uppercase())?;
        }
        "upper" => {
            let mut text = Vec::new();
            stdin().read_to_end(&mut text)?;
            stdout().write_all(&text.to_ascii_uppercase())?;
        }
        "lines" => {
            for (number, line) in stdin().lock().lines().enumerate() {
                println!("{}: {}", number + 1, line?);
            }
        }
        "env" => {
            for (name, value) in std::env::vars() {
                println!("{name}={value}");
            }
        }
        "args" => {
            for argument in std::env::args() {
                print!("[{argument}]");
            }
        }
        "exit" => {
            println!("bye");
            return Ok(ExitCode::from(7));
        }
        "stderr" => {
            eprintln!("to the log");
            println!("to the client");
        }
        // Panics when the client is gone.
        "yes" => loop {
            println!("{}", "y".repeat(1000));
        },
        "panic" => panic!("as asked"),
        _ => println!("ignored"),
    }
    Ok(ExitCode::SUCCESS)
}
