//! The arguments: every verb and flag, and what `--help` says of them.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use ringfence::{
    event::{CallId, Digest, KeyId, KeyScope, ModelName, RootName, TenantId, ToolName, UserId},
    policy::ConfigKey,
};

use crate::{exit::Exit, flags::CallFlags, screen::Color};

const EXIT_CODES: &str = "\
Exit codes of `run` and `call`: 0 done, 1 failed, 2 bad usage or input, 3 denied \
(refused whole, or failed with at least one denial), 4 a limit, 5 the tool crashed, 6 cancelled, \
7 waiting for a person, 8 the host failed. `session resume` exits like them, with --all with 0 or 1. \
`explain`: 0 or 3. The other verbs: 0, 2 or 8.

With --json, standard output is JSON and nothing else; an error is one object, {\"error\": \
{\"code\": …, \"message\": …}}, whose code is `usage`, `config` (with file, line and column), \
`host`, or says more: `no-such-session`, `unfit-answer`, or why a session does not take something, \
such as `not-waiting`. Arguments that cannot be read are told on standard error all the same.";

/// Runs agents whose every tool is a sandboxed WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The operator's file [default: the ringfence.toml of this folder or the nearest above it]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where sessions and compiled tools are kept [default: what ringfence.toml says; without one,
    /// $XDG_STATE_HOME/ringfence or ~/.local/state/ringfence]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// Whose work it is [default: local]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tenant: Option<TenantId>,
    /// On whose behalf [default: local]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<UserId>,
    /// Write JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(RunArguments),
    Call(CallArguments),
    /// Add tools, accept changes of them, look at them
    #[command(subcommand)]
    Tool(ToolVerb),
    Grant(GrantArguments),
    Explain(ExplainArguments),
    /// What agents did, as their journals tell it
    #[command(subcommand)]
    Session(SessionVerb),
    /// What waits for a person, and a yes or a no to it
    #[command(subcommand)]
    Approvals(ApprovalsVerb),
    Serve(ServeArguments),
    /// API keys of the service: of the tenant that --tenant names
    #[command(subcommand)]
    Key(KeyVerb),
    /// The operator's file
    #[command(subcommand)]
    Config(ConfigVerb),
}

/// Offer the runtime to many tenants over HTTP
///
/// Every request needs an API key, which `ringfence key create` makes; the key says whose the request
/// is. The API is described at /v1/openapi.json. It listens where [service] in ringfence.toml says, and
/// prints the address. Asked to end (SIGTERM or Ctrl-C), it goes on with what is under way for as long
/// as `drain` there says, and exits with 0; asked again, it leaves at once.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The address and port, in place of the file's; port 0: any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key, and show its secret this once
    ///
    /// With --user it is for that user of the tenant alone; without, for the whole tenant.
    Create {
        /// What it is for: read, run, approve or admin, which includes the others
        #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
        scope: Vec<KeyScope>,
        /// What people call it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// How long it is good, such as 720h [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = crate::flags::time)]
        expires: Option<u64>,
    },
    /// The keys, those that ended too
    List,
    /// End a key; what was started with it ends within a second
    Revoke {
        /// Its id
        id: KeyId,
    },
    /// Make a key in the place of another, which goes on for a while
    Rotate {
        /// The id of the old one
        id: KeyId,
        /// How long the old one goes on
        #[arg(long, value_name = "TIME", value_parser = crate::flags::time, default_value = "1h")]
        overlap: u64,
        /// How long the new one is good [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = crate::flags::time)]
        expires: Option<u64>,
    },
}

/// What to do with the operator's file.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Say whether the file, the agents it names, its roots and its tools can be used; changes nothing
    Check,
    /// Write the JSON Schema of the file, for editors
    Schema,
}

/// What to do with what waits for a person. Answers are refused if the call does not wait for them any
/// more; then nothing is changed.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsVerb {
    /// All calls that wait for a person, over all your sessions
    List,
    /// Let a call run that is held
    Approve {
        /// The session
        session: String,
        /// The call; not needed where one waits
        call: Option<CallId>,
        /// For this function for the rest of the session, if the rule that holds it allows that
        #[arg(long)]
        session_wide: bool,
        /// Why; the model reads it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only if it still waits for what `list --json` showed under this digest
        #[arg(long, value_name = "DIGEST")]
        shown: Option<Digest>,
    },
    /// Do not let it run
    Deny {
        /// The session
        session: String,
        /// The call; not needed where one waits
        call: Option<CallId>,
        /// Why; the model reads it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only if it still waits for what `list --json` showed under this digest
        #[arg(long, value_name = "DIGEST")]
        shown: Option<Digest>,
    },
}

/// How a call of unknown outcome ended.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReconcileHow {
    /// It happened, and this is what it returned
    #[arg(long, value_name = "TEXT")]
    pub(crate) happened: Option<String>,
    /// It did not happen, and is to run
    #[arg(long)]
    pub(crate) run_it: bool,
    /// Nobody can say; the model is told so
    #[arg(long)]
    pub(crate) give_up: bool,
}

/// What to do with a tool.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// Add a tool to ringfence.lock
    ///
    /// Shows what it offers, asks and imports. It may do nothing yet: `ringfence grant` gives it
    /// something. A tool that was added and changed since is refused with the difference.
    Add {
        /// A folder with a tool.toml, or a .wasm file
        path: PathBuf,
    },
    /// Accept a tool that changed, as it is now
    Accept {
        /// A folder, a .wasm file, or an added tool's name
        #[arg(value_name = "PATH_OR_NAME")]
        tool: String,
        /// Accept without asking
        #[arg(long)]
        yes: bool,
    },
    /// Take a tool out of ringfence.lock
    Remove {
        /// Its name
        name: ToolName,
    },
    /// The tools in ringfence.lock, and whether they still are what was accepted
    List,
    /// Everything about a tool: digests, what it asks and imports, functions with their schemas
    Inspect {
        /// A folder, a .wasm file, or an added tool's name
        #[arg(value_name = "PATH_OR_NAME")]
        tool: String,
    },
    /// Look for what is wrong or strange with a tool and with what it is granted
    ///
    /// Of the grants, those of --tenant, or else of all tenants in ringfence.toml. Exits with 2 if
    /// there is an error; warnings are only told.
    Check {
        /// A folder, a .wasm file, or an added tool's name
        #[arg(value_name = "PATH_OR_NAME")]
        tool: String,
        /// Take every warning as an error
        #[arg(long)]
        strict: bool,
    },
}

/// Give a tenant's calls of an added tool what it asks, in ringfence.toml
///
/// Shows the lines, and asks before it writes them. What stands in the file already is kept, and
/// nothing in it becomes narrower. Without --from-needs the tool may be called and touch nothing.
#[derive(Debug, Args)]
pub(crate) struct GrantArguments {
    /// The tool's name
    pub(crate) tool: ToolName,
    /// Grant all that its manifest asks
    #[arg(long)]
    pub(crate) from_needs: bool,
    /// The folder that stands for a root, seen from ringfence.toml [default: .]; the root `scratch`
    /// has none
    #[arg(long, value_name = "NAME=PATH", value_parser = crate::flags::root_path)]
    pub(crate) root: Vec<(RootName, String)>,
    /// The value of a configuration key that its manifest asks; without one it gets none
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::flags::value)]
    pub(crate) value: Vec<(ConfigKey, String)>,
    /// Write without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Say what a tool may do, and which line of which file allows or denies it
///
/// Decides as a call of an agent would be decided, by tool.toml and ringfence.toml, and calls
/// nothing. Without a FUNCTION it speaks of all of them; without a REQUEST, of everything that they
/// may do, and of what is asked and not granted or granted and not asked.
///
/// A REQUEST is one of `fs read|write PATH` (a path in the guest, such as /workspace/a.txt), `http
/// METHOD URL`, `memory read|write SCOPE`, `config KEY`, `socket HOST:PORT`. A first word that is a
/// function of the tool is the FUNCTION.
///
/// Exits with 0 if a function that was asked about is allowed it, else with 3.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A folder, a .wasm file, or an added tool's name
    #[arg(value_name = "TOOL")]
    pub(crate) tool: String,
    /// A function, a request, or both
    #[arg(value_name = "FUNCTION|REQUEST")]
    pub(crate) words: Vec<String>,
}

/// What to do with a session. Its id may be given by its beginning.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// The sessions, the one used last first
    List {
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u32,
    },
    /// Everything that happened in a session, what it waits for, and what goes on with it
    ///
    /// With --json, its events, one a line.
    Show {
        /// The session
        id: String,
    },
    /// Cancel the run that is under way in a session, whichever process drives it
    Cancel {
        /// The session
        id: String,
    },
    /// Go on with what is unfinished in a session
    ///
    /// Exits as `run` does. With --all, what came of each session is told on a line, and the exit code
    /// is 1 if one could not be gone on with or its run failed, else 0.
    Resume {
        /// The session [default: of your unfinished ones that nobody drives, the one used last]
        id: Option<String>,
        /// All that are unfinished, of all tenants and users
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Write a session as one file, which `session import` reads
    ///
    /// The file has its events, the agent that it carries, and what its tools keep in its memory; not
    /// the files in its `scratch`, and no tools, grants or secrets. A run that has not ended is
    /// exported as it stands: go on with it in one place.
    Export {
        /// The session
        id: String,
        /// The file; its folder must be there [default: standard output]
        file: Option<PathBuf>,
        /// Replace the file if there is one
        #[arg(long, requires = "file")]
        force: bool,
    },
    /// Read a session that `session export` has written, as one of yours, under its id
    ///
    /// All of it is checked first; if anything is wrong, nothing is stored. It goes on with what
    /// ringfence.toml grants here. What it says that people approved counts as approved: take files
    /// only from where you would take orders.
    Import {
        /// The file; `-`: standard input
        file: PathBuf,
    },
    /// Answer what a tool asks in the middle of a call
    Answer {
        /// The session
        id: String,
        /// The answer, a JSON object that fits the question's schema
        #[arg(value_name = "JSON", required_unless_present = "decline")]
        answer: Option<String>,
        /// The call; not needed where one asks
        #[arg(long)]
        call: Option<CallId>,
        /// Tell the tool that nobody answers
        #[arg(long, conflicts_with = "answer")]
        decline: bool,
        /// Only if it still asks what `approvals list --json` showed under this digest
        #[arg(long, value_name = "DIGEST")]
        shown: Option<Digest>,
    },
    /// Say how a call ended that was under way when its host died
    Reconcile {
        /// The session
        id: String,
        /// The call
        call: CallId,
        #[command(flatten)]
        how: ReconcileHow,
    },
    /// Close a session for good
    ///
    /// It takes nothing more, and what its tools kept in `scratch` is removed; its journal stays. A
    /// run that is under way has to end or be cancelled first.
    Close {
        /// The session
        id: String,
    },
}

/// Say something to an agent and watch it work
///
/// The answer goes to standard output, what happens on the way to standard error. With --json each
/// event is one line on standard output instead. Ctrl-C cancels the run, a second one leaves at
/// once.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The agent's file
    #[arg(value_name = "AGENT.TOML")]
    pub(crate) agent: PathBuf,
    /// What to say [default: standard input, unless that is a terminal]
    #[arg(long, value_name = "TEXT")]
    pub(crate) input: Option<String>,
    /// Go on in this session; the beginning of its id will do
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// If a run is under way in it: refuse this input, run it after that one, or cancel that one
    #[arg(long, value_enum, value_name = "WHAT", requires = "session", default_value_t)]
    pub(crate) busy: WhenBusy,
    /// A name of yours for the input: said again in the session under it, it is the same run
    #[arg(long, value_parser = crate::flags::key)]
    pub(crate) key: Option<String>,
    /// Use this [model.NAME] of ringfence.toml in place of the agent's
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<ModelName>,
    /// Use the tool in this folder in place of the accepted one of its name, for this run only
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) dev: Vec<PathBuf>,
}

/// What is done with an input while a run is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WhenBusy {
    /// It is refused
    #[default]
    Reject,
    /// It waits for its turn
    Queue,
    /// The run under way is cancelled
    Interrupt,
}

/// Call one function of a tool, without an agent
///
/// TOOL is a folder with a tool.toml, a .wasm file, or the name of a tool that `ringfence tool add`
/// added. What exists as a path is taken as one.
///
/// An added tool gets what ringfence.toml grants it, and the flags on top of that. Without a
/// ringfence.toml, and for a path, any function may be called, and what it may touch is what a
/// ringfence.toml grants a tool of this name and what the flags give: with neither, nothing. A
/// component without a tool.toml asks for what the flags give.
#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// A folder, a .wasm file, or an added tool's name
    pub(crate) tool: String,
    /// The function; not needed where the tool has but one
    pub(crate) function: Option<String>,
    /// Its arguments, one JSON object; `-`: from standard input [default: standard input, unless
    /// that is a terminal or empty; then {}]
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// The idempotency key that the tool sees [default: one of its own for each call]
    #[arg(long, value_parser = crate::flags::key)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) flags: CallFlags,
}

/// The arguments of this process; what they are wrong in, or the help, is shown already.
pub(crate) fn read() -> Result<Arguments, ExitCode> {
    let matches = Arguments::command().try_get_matches();
    matches.and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches)).map_err(|error| {
        // Nobody can be told when standard error is what fails.
        let _ = error.print();
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        exit.into()
    })
}
