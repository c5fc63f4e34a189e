//! The configuration file, which sets defaults of options.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use etcetera::BaseStrategy;
use toml::{Table, Value};

use crate::args::{self, Args};
use crate::exit::CliError;
use crate::output::redacted;

/// The options that a configuration file cannot set, because they belong to a single run.
const NOT_CONFIGURABLE: [&str; 8] = [
    "config",
    "continue",
    "help",
    "input",
    "journal",
    "output",
    "remote-name",
    "retry-failed",
];

/// The commands that read the configuration file.
const COMMANDS: [&str; 2] = ["gather", "get"];

/// Parses the command line, with the defaults of the configuration file. Exits if the command line is invalid.
pub(crate) fn parse_args() -> Result<Args, CliError> {
    let command = Args::command();
    let matches = command.clone().try_get_matches().map_err(usage_error)?;
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let explicit = match &args.command {
        args::Command::Get(get) => &get.requests.config,
        args::Command::Gather(gather) => &gather.requests.config,
        #[cfg(feature = "queue")]
        args::Command::Queue(queue) => match &queue.command {
            args::QueueCommand::Work(work) => &work.requests.config,
            _ => return Ok(args),
        },
        _ => return Ok(args),
    };
    let Some(path) = explicit.clone().or_else(default_path) else {
        return Ok(args);
    };
    let (mut commands, mut given) = (Vec::new(), &matches);
    while let Some((name, next)) = given.subcommand() {
        commands.push(name);
        given = next;
    }
    // `queue work` has the options of `gather`.
    let name = match commands[..] {
        [name] => name,
        _ => "gather",
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && explicit.is_none() => {
            return Ok(args);
        }
        text => text.map_err(|error| file_error(&path, error))?,
    };
    let table: Table = text
        .parse()
        .map_err(|error| syntax_error(&path, &text, &error))?;
    let defaults = Defaults::from_table(&command, name, table);
    let defaults = defaults.map_err(|error| file_error(&path, error))?;
    let command = defaults.apply(command, &commands, given);
    let matches = command
        .try_get_matches()
        .map_err(|error| match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue => value_error(&path, &error),
            _ => error.exit(),
        })?;
    Args::from_arg_matches(&matches).map_err(|error| file_error(&path, error))
}

fn default_path() -> Option<PathBuf> {
    let directories = etcetera::choose_base_strategy().ok()?;
    Some(
        directories
            .config_dir()
            .join("inflight")
            .join("config.toml"),
    )
}

/// The options whose values may be credentials.
const SECRET_OPTIONS: [&str; 4] = ["--header", "--proxy", "--server", "--user"];

/// Returns the error for an invalid command line, without credentials. Exits if the user requested the help or the
/// version, or if the message of clap cannot contain credentials.
fn usage_error(error: clap::Error) -> CliError {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.as_str(),
        _ => "",
    };
    let is_secret = SECRET_OPTIONS
        .iter()
        .any(|secret| option.starts_with(secret));
    match (is_secret, error.source()) {
        (true, Some(cause)) => {
            CliError::usage(format_args!("the value of {option} is not valid: {cause}"))
        }
        _ if error.use_stderr() && error.to_string().contains('@') => {
            CliError::usage(without_credentials(&error.to_string()))
        }
        _ => error.exit(),
    }
}

/// Removes the credentials of URLs from a message of clap.
fn without_credentials(message: &str) -> String {
    let message = message.trim_start_matches("error: ").trim_end();
    let ends_word = |c: char| c.is_whitespace() || c == '\'';
    let words = message.split_inclusive(ends_word).map(|word| {
        let text = word.trim_end_matches(ends_word);
        match text.contains('@') {
            true => redacted(text) + &word[text.len()..],
            false => word.to_owned(),
        }
    });
    words.collect()
}

/// Returns an error with the line that is not TOML. Omits the text, because it may contain credentials.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> CliError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    file_error(
        path,
        format_args!("line {line} is not valid TOML: {}", error.message()),
    )
}

/// Returns an error with the reason why the value of an option is not valid. Omits the value.
fn value_error(path: &Path, error: &clap::Error) -> CliError {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.as_str(),
        _ => "an option",
    };
    match error.source() {
        Some(cause) => file_error(
            path,
            format_args!("the value of {option} is not valid: {cause}"),
        ),
        None => file_error(path, format_args!("the value of {option} is not valid")),
    }
}

fn file_error(path: &Path, error: impl std::fmt::Display) -> CliError {
    let text = error.to_string();
    CliError::usage(format_args!("{}: {}", path.display(), text.trim_end()))
}

/// The values of a configuration file for one command.
struct Defaults(Vec<(String, Vec<String>)>);

impl Defaults {
    /// Reads the keys that apply to the command. Keys in the command's own table replace common keys.
    fn from_table(command: &Command, name: &str, mut table: Table) -> Result<Self, String> {
        let mut own = Table::new();
        for other in COMMANDS {
            match table.remove(other) {
                Some(Value::Table(values)) => {
                    for key in values.keys() {
                        option(command, &[other], key)?;
                    }
                    if other == name {
                        own = values;
                    }
                }
                Some(_) => return Err(format!("{other} must be a table")),
                None => {}
            }
        }
        for (key, value) in table {
            option(command, &COMMANDS, &key)?;
            let applies = option(command, &[name], &key).is_ok();
            if applies && !own.contains_key(&key) {
                own.insert(key, value);
            }
        }
        let values = own.into_iter().map(|(key, value)| {
            let values = strings(option(command, &[name], &key)?, value);
            Ok((
                key.clone(),
                values.map_err(|error| format!("{key}: {error}"))?,
            ))
        });
        let defaults = Self(values.collect::<Result<_, String>>()?);
        defaults.check_conflicts(command, name)?;
        Ok(defaults)
    }

    /// Checks that no two values exclude each other.
    fn check_conflicts(&self, command: &Command, name: &str) -> Result<(), String> {
        let Some(command) = command.find_subcommand(name) else {
            return Ok(());
        };
        let values = self.0.iter().filter(|(_, values)| !values.is_empty());
        let args: Vec<_> = values.filter_map(|(key, _)| find(command, key)).collect();
        for arg in &args {
            let excluded = command.get_arg_conflicts_with(arg);
            let other = args
                .iter()
                .find(|other| excluded.iter().any(|arg| arg.get_id() == other.get_id()));
            if let Some(other) = other {
                let [a, b] = [arg, other].map(|arg| arg.get_long().unwrap_or_default());
                return Err(format!("{a} and {b} exclude each other"));
            }
        }
        Ok(())
    }

    /// Makes the values the defaults of their options, in the command with these names. Omits values that contradict the command line.
    fn apply(self, command: Command, names: &[&str], given: &ArgMatches) -> Command {
        if let [name, names @ ..] = names {
            return command.mut_subcommand(*name, |command| self.apply(command, names, given));
        }
        self.0.into_iter().fold(command, |command, (key, values)| {
            let Some(id) = find(&command, &key).map(|arg| arg.get_id().clone()) else {
                return command;
            };
            match values.is_empty() || contradicts(&command, id.as_str(), given) {
                true => command,
                false => command.mut_arg(id, |arg| arg.default_values(values)),
            }
        })
    }
}

/// Returns whether the command line has the option, or another option that conflicts with it.
fn contradicts(command: &Command, id: &str, given: &ArgMatches) -> bool {
    let is_given = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    let excludes = |arg: &Arg, other: &str| {
        let excluded = command.get_arg_conflicts_with(arg);
        excluded.iter().any(|arg| arg.get_id() == other)
    };
    let mut args = command.get_arguments();
    let own = command.get_arguments().find(|arg| arg.get_id() == id);
    args.any(|arg| {
        let is_related = arg.get_id() == id
            || excludes(arg, id)
            || own.is_some_and(|own| excludes(own, arg.get_id().as_str()));
        is_related && is_given(arg.get_id().as_str())
    })
}

fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(key))
}

/// Returns the option that a key sets, if one of these commands has it.
fn option<'a>(command: &'a Command, names: &[&str], key: &str) -> Result<&'a Arg, String> {
    if NOT_CONFIGURABLE.contains(&key) {
        return Err(format!("{key} can be set only on the command line"));
    }
    let commands = names
        .iter()
        .filter_map(|name| command.find_subcommand(name));
    let mut found = commands.filter_map(|command| find(command, key));
    found
        .next()
        .ok_or_else(|| format!("{key} is not an option of {}", names.join(" or ")))
}

/// Returns the values of an option as the command line would have them. A flag that is off has no values.
fn strings(arg: &Arg, value: Value) -> Result<Vec<String>, String> {
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    match value {
        Value::Boolean(on) if is_flag => Ok(if on {
            vec!["true".to_owned()]
        } else {
            Vec::new()
        }),
        _ if is_flag => Err("must be true or false".to_owned()),
        Value::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
            values.into_iter().map(string).collect()
        }
        value => Ok(vec![string(value)?]),
    }
}

fn string(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err("must be a string or a number".to_owned()),
    }
}
