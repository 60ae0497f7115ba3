//! Programs that a build runs, and the folders in which it works.
//!
//! | file | content |
//! |---|---|
//! | `progress` | a line on the terminal while a program runs |
//! | `run` | running a program: its output, its failure, and signals meanwhile |
//! | `kept` | the beginning and the end of what a program prints |
//! | `install` | tools: where they are, and their installation |
//! | `private` | folders that no other user can write to |

mod install;
mod kept;
mod private;
mod progress;
mod run;

pub use install::{npm_dependencies, npm_package, npm_tool, program_in_path, python_package};
pub use private::{cache_directory, create_private, prune};
pub use progress::{Progress, announce, output, say};
pub use run::{Interrupted, run, run_for_output};
