//! What goes wrong before a call, and what is refused.

use std::path::PathBuf;

/// The sandbox could not be set up or a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component is refused; see [`Refusal`].
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine cannot be set up on this machine.
    #[error("the WebAssembly engine cannot start: {message}")]
    Engine {
        /// What the engine says.
        message: String,
    },
    /// A file of the compiled-code cache cannot be used at all; a stale or damaged one is not an
    /// error, it is made anew.
    #[error("the compiled-code cache at {path} cannot be used")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine { message: format!("{error:#}") }
    }
}

/// Why a component is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not WebAssembly.
    #[error("this is no WebAssembly component: it does not begin with `\\0asm`")]
    NotWebAssembly,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component: build it for `wasm32-wasip2`, or turn \
         it into a component with `wasm-tools component new`"
    )]
    CoreModule,
    /// It does not validate, or needs a feature that is switched off.
    #[error("the component does not validate: {message}")]
    Invalid {
        /// What the engine says, with the offset.
        message: String,
    },
    /// It imports what nothing here offers.
    #[error("the component imports what nothing here offers: {}", imports.join(", "))]
    UnknownImports {
        /// The imports, by name.
        imports: Vec<String>,
    },
    /// It exports no `ringfence:tool/tools`.
    #[error(
        "the component does not export `ringfence:tool/tools@0.1.0`; it exports {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )]
    NoTools {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// It does not say what it offers.
    #[error("the component does not say which functions it offers: {message}")]
    NoDefinitions {
        /// What it says, or how it ended.
        message: String,
    },
}
