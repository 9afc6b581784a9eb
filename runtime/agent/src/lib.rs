//! `agent.toml`: what an agent is. Its model, its instructions, the functions it may call and what
//! one run of it may spend. Pure: whoever loads an agent reads the files.
//!
//! ```
//! use ringfence_agent::Agent;
//!
//! let agent = Agent::parse("agent.toml", r#"
//!     name = "coder"
//!     model = { use = "main" }
//!     instructions = "You look after one repository."
//!
//!     [tools]
//!     repo-search = "*"
//!     files = ["read", "list"]
//!
//!     [limits]
//!     steps = 20
//! "#)?;
//! assert!(agent.check_function(&"files".parse()?, &"read".parse()?).is_ok());
//! let denial = agent.check_function(&"files".parse()?, &"write".parse()?).unwrap_err();
//! assert_eq!(denial.remedies[0].allow, r#"files = ["list", "read", "write"]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod agent;
mod file;
mod limits;
mod rules;

pub use agent::{Agent, FunctionList, Instructions, ListedTool, Place};
pub use limits::RunLimits;
