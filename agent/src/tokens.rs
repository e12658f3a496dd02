//! The command `token`: adds, lists and revokes the tokens of people and scripts, while the agent runs or not.

use clap::{Arg, ArgMatches, Command, value_parser};
use pilothouse_agent::control::tokens::{Entry, Tokens, TokensError};
use pilothouse_agent::telemetry::clock::wall_ms;
use pilothouse_agent::telemetry::date;
use pilothouse_shared::span::Span;
use pilothouse_shared::wire::Role;

/// How it is asked for; `flags` tell where the data folder is.
pub(crate) fn command(flags: &[Arg]) -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true);
    let role = Arg::new("role").long("role").value_name("ROLE").required(true).value_parser(value_parser!(Role));
    let expires = Arg::new("expires").long("expires").value_name("TIME").value_parser(value_parser!(Span));
    let subcommands = [
        Command::new("add").about("Make a token and print it, this once").args([
            name().help("Whose it is; the name stands in the audit log"),
            role.help("What it allows"),
            expires.help("How long, such as 12h or 30d; without it for ever"),
        ]),
        Command::new("list").about("Tell whose tokens there are, what each allows and when it ends"),
        Command::new("revoke")
            .about("Take a token away; who uses it is let go within seconds")
            .arg(name().help("Whose it is")),
    ];
    Command::new("token")
        .about("Let people and scripts in: tokens with a role each, kept as hashes in the data folder")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(subcommands.map(|command| command.args(flags)))
}

/// Does what `matches` of the subcommand `what` say.
pub(crate) fn run(what: &str, matches: &ArgMatches, tokens: &Tokens) -> Result<(), TokensError> {
    let name = || matches.get_one::<String>("name").expect("clap demands a name");
    match what {
        "add" => add(tokens, name(), matches)?,
        "revoke" => {
            tokens.revoke(name())?;
            println!("the token of {} is revoked", name());
        }
        _ => table(&tokens.list()?),
    }
    Ok(())
}

fn add(tokens: &Tokens, name: &str, matches: &ArgMatches) -> Result<(), TokensError> {
    let role = *matches.get_one::<Role>("role").expect("clap demands a role");
    let now = wall_ms();
    let expires = matches.get_one::<Span>("expires").map(|span| now + span.millis());
    println!("{}", tokens.add(name, role, now, expires)?);
    let until = expires.map_or_else(String::new, |end| format!(" until {} UTC", date::moment(end)));
    eprintln!("This is the token of {name} ({role}){until}. It is shown this once: only its hash is kept.");
    Ok(())
}

fn table(entries: &[Entry]) {
    if entries.is_empty() {
        return println!("no tokens: only console.token in the data folder lets in, on this machine");
    }
    let now = wall_ms();
    println!("{:<20} {:<8} {:<19} EXPIRES (UTC)", "NAME", "ROLE", "CREATED (UTC)");
    for Entry { name, role, created, expires, .. } in entries {
        let end = match expires {
            None => "never".to_owned(),
            Some(end) if *end <= now => format!("{} (over)", date::moment(*end)),
            Some(end) => date::moment(*end),
        };
        println!("{name:<20} {role:<8} {} {end}", date::moment(*created));
    }
}
