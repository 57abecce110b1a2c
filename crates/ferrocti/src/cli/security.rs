//! The commands about people and rights: users, groups, roles, who may do what and why, the audit log.
//!
//! No command takes a password as an argument: arguments are seen by every user of the machine and stay in the shell's history.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, value_parser};

use super::RemoteArgs;

/// `ferrocti user …`. A user is named by id, e-mail address or name.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List users with their groups and confidence
    List {
        /// Only users whose name or address holds this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only members of this group
        #[arg(long)]
        group: Option<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show a user: groups, capabilities, markings, where its confidence comes from, tokens, sessions
    Show {
        /// Id, e-mail address or name
        user: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Create a user; without --password-stdin a password is generated and printed once
    Add(UserAddArgs),
    /// Change a user
    Edit(UserEditArgs),
    /// Delete a user with its tokens and sessions
    Delete {
        /// Id, e-mail address or name
        user: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Create a service account that may do what a connector needs and nothing more; prints its token once
    AddConnector(AddConnectorArgs),
    /// Give the administrator of a stopped platform a new password and token; prints both once
    ResetAdmin {
        /// Data directory of the stopped platform [env: FERROCTI_DATA_DIR]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look after the tokens by which programs log in
    #[command(subcommand)]
    Token(TokenCommand),
    /// List who is logged in with a browser
    Sessions {
        /// Only sessions of this user: id, e-mail address or name
        user: Option<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// End the sessions of a user at once; tokens go on working
    KillSessions {
        /// Id, e-mail address or name
        user: String,
        /// Only this session, by its id from `ferrocti user sessions`
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Keep a user out: its sessions end and its tokens are refused until it is unlocked
    Lock {
        /// Id, e-mail address or name
        user: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Let a user in again, also after too many failed logins
    Unlock {
        /// Id, e-mail address or name
        user: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// `ferrocti user add`
#[derive(Debug, Args)]
pub struct UserAddArgs {
    /// E-mail address; may be left out for service accounts
    #[arg(required_unless_present = "service_account")]
    pub email: Option<String>,
    /// Name; the address where it is left out
    #[arg(long, required_unless_present = "email")]
    pub name: Option<String>,
    /// First name
    #[arg(long)]
    pub firstname: Option<String>,
    /// Last name
    #[arg(long)]
    pub lastname: Option<String>,
    /// Description
    #[arg(long)]
    pub description: Option<String>,
    /// Make it a member of this group; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Do not make it a member of the groups that new users get by default
    #[arg(long)]
    pub no_default_groups: bool,
    /// A program's account: no password, tokens only
    #[arg(long)]
    pub service_account: bool,
    /// Own maximum confidence, 0 to 100; without it that of the groups counts
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(0..=100))]
    pub max_confidence: Option<u8>,
    /// Own maximum confidence for one entity type, e.g. Report=30, besides --max-confidence; may be given several times
    #[arg(long = "confidence", value_name = "TYPE=N", value_parser = type_confidence, requires = "max_confidence")]
    pub overrides: Vec<(String, u8)>,
    /// From when on it is refused, e.g. 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub expires: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "service_account")]
    pub password_stdin: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti user edit`
#[derive(Debug, Args)]
pub struct UserEditArgs {
    /// Id, e-mail address or name
    pub user: String,
    /// New name
    #[arg(long)]
    pub name: Option<String>,
    /// New e-mail address
    #[arg(long)]
    pub email: Option<String>,
    /// New first name
    #[arg(long)]
    pub firstname: Option<String>,
    /// New last name
    #[arg(long)]
    pub lastname: Option<String>,
    /// New description
    #[arg(long)]
    pub description: Option<String>,
    /// Own maximum confidence, 0 to 100
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(0..=100))]
    pub max_confidence: Option<u8>,
    /// Own maximum confidence for one entity type, e.g. Report=30, besides --max-confidence; replaces those that are set; may be given several times
    #[arg(long = "confidence", value_name = "TYPE=N", value_parser = type_confidence, requires = "max_confidence")]
    pub overrides: Vec<(String, u8)>,
    /// No own maximum confidence any more: that of the groups counts
    #[arg(long, conflicts_with = "max_confidence")]
    pub no_max_confidence: bool,
    /// From when on it is refused: a date, or never
    #[arg(long, value_name = "DATE|never", value_parser = date_or_never)]
    pub expires: Option<String>,
    /// Active, Inactive, Locked or Expired
    #[arg(long)]
    pub status: Option<AccountStatus>,
    /// Whether it is a program's account
    #[arg(long, value_name = "true|false")]
    pub service_account: Option<bool>,
    /// Make it a member of this group; may be given several times
    #[arg(long, value_name = "GROUP")]
    pub add_group: Vec<String>,
    /// End its membership of this group; may be given several times
    #[arg(long, value_name = "GROUP")]
    pub remove_group: Vec<String>,
    /// Read a new password from standard input
    #[arg(long, conflicts_with = "new_password")]
    pub password_stdin: bool,
    /// Generate a new password and print it once
    #[arg(long)]
    pub new_password: bool,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Whether an account is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum AccountStatus {
    /// Let in.
    Active,
    /// Kept out: switched off.
    Inactive,
    /// Kept out until it is unlocked.
    Locked,
    /// Kept out: its time is over.
    Expired,
}

/// `ferrocti user add-connector`
#[derive(Debug, Args)]
pub struct AddConnectorArgs {
    /// Name of the account, e.g. the connector's name
    pub name: String,
    /// Highest confidence that its data may carry, 0 to 100
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u8).range(0..=100))]
    pub max_confidence: u8,
    /// Strictest marking that it may see and use, e.g. TLP:AMBER; it gets a group of its own with this and milder ones of the same kind
    #[arg(long, value_name = "MARKING")]
    pub max_marking: Option<String>,
    /// Data directory of a stopped platform, instead of --url [env: FERROCTI_DATA_DIR]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub data_dir: Option<PathBuf>,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti user token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; prints it once
    Add {
        /// Whose: id, e-mail address or name
        user: String,
        /// What it is for; unique among the user's tokens
        name: String,
        /// How many days it lasts
        #[arg(long, value_name = "30|60|90|365|unlimited", default_value = "365")]
        days: TokenDays,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// List the tokens of a user; never what they are
    List {
        /// Whose: id, e-mail address or name
        user: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make a token useless at once
    Revoke {
        /// Whose: id, e-mail address or name
        user: String,
        /// Id or name of the token
        name: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// How long a token lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenDays {
    /// 30 days.
    #[value(name = "30")]
    D30,
    /// 60 days.
    #[value(name = "60")]
    D60,
    /// 90 days.
    #[value(name = "90")]
    D90,
    /// A year.
    #[value(name = "365")]
    D365,
    /// For ever.
    Unlimited,
}

impl TokenDays {
    /// The API's word.
    pub fn duration(self) -> &'static str {
        match self {
            Self::D30 => "DAYS_30",
            Self::D60 => "DAYS_60",
            Self::D90 => "DAYS_90",
            Self::D365 => "DAYS_365",
            Self::Unlimited => "UNLIMITED",
        }
    }
}

/// `ferrocti group …`. A group is named by id or name.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups with their roles, markings and confidence
    List(RemoteArgs),
    /// Show a group with its members
    Show {
        /// Id or name
        group: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Create a group; it has no role and no marking yet unless they are given
    Add {
        /// Name
        name: String,
        /// Roles of its members; may be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Markings that its members may see and use, with milder ones of the same kind, e.g. TLP:AMBER; may be given several times
        #[arg(long = "marking", value_name = "MARKING")]
        markings: Vec<String>,
        /// What it is
        #[command(flatten)]
        fields: GroupFields,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Change a group
    Edit {
        /// Id or name
        group: String,
        /// New name
        #[arg(long)]
        name: Option<String>,
        /// What changes
        #[command(flatten)]
        fields: GroupFields,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete a group; its members stay
    Delete {
        /// Id or name
        group: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make a user a member
    AddMember(MemberArgs),
    /// End a user's membership
    RemoveMember(MemberArgs),
    /// Let members see and use a marking, and milder ones of the same kind
    AllowMarking(GroupMarkingArgs),
    /// Take a marking from the allowed ones
    ForbidMarking(GroupMarkingArgs),
    /// Give members a role
    AddRole(GroupRoleArgs),
    /// Take a role from members
    RemoveRole(GroupRoleArgs),
}

/// What can be set on a group.
#[derive(Debug, Args)]
pub struct GroupFields {
    /// Description
    #[arg(long)]
    pub description: Option<String>,
    /// Maximum confidence of members that have no own one, 0 to 100 [default for a new group: 100]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(0..=100))]
    pub max_confidence: Option<u8>,
    /// Maximum confidence for one entity type, e.g. Report=30; replaces those that are set; may be given several times
    #[arg(long = "confidence", value_name = "TYPE=N", value_parser = type_confidence, requires = "max_confidence")]
    pub overrides: Vec<(String, u8)>,
    /// Whether every new user becomes a member
    #[arg(long, value_name = "true|false")]
    pub default_membership: Option<bool>,
    /// Whether new markings are allowed by themselves
    #[arg(long, value_name = "true|false")]
    pub auto_new_markings: Option<bool>,
    /// Whether members are not recorded as creators (in force for who is in such groups only)
    #[arg(long, value_name = "true|false")]
    pub no_creators: Option<bool>,
    /// Whether members may delete only what they created (in force for who is in such groups only)
    #[arg(long, value_name = "true|false")]
    pub restrict_delete: Option<bool>,
}

/// A group and a user.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// Id or name of the group
    pub group: String,
    /// Id, e-mail address or name of the user
    pub user: String,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// A group and a marking.
#[derive(Debug, Args)]
pub struct GroupMarkingArgs {
    /// Id or name of the group
    pub group: String,
    /// Marking, e.g. TLP:AMBER
    pub marking: String,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// A group and a role.
#[derive(Debug, Args)]
pub struct GroupRoleArgs {
    /// Id or name of the group
    pub group: String,
    /// Id or name of the role
    pub role: String,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti role …`. A role is named by id or name.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// List roles with their capabilities
    List(RemoteArgs),
    /// Show a role with its capabilities and what these are
    Show {
        /// Id or name
        role: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Create a role
    Add {
        /// Name
        name: String,
        /// Description
        #[arg(long)]
        description: Option<String>,
        /// A capability that it gives, with its parents; may be given several times
        #[arg(long = "capability", value_name = "NAME")]
        capabilities: Vec<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Change a role
    Edit {
        /// Id or name
        role: String,
        /// New name
        #[arg(long)]
        name: Option<String>,
        /// New description
        #[arg(long)]
        description: Option<String>,
        /// Give this capability, with its parents; may be given several times
        #[arg(long, value_name = "NAME")]
        add_capability: Vec<String>,
        /// Take this capability; may be given several times
        #[arg(long, value_name = "NAME")]
        remove_capability: Vec<String>,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete a role; groups that have it lose it
    Delete {
        /// Id or name
        role: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// List all capabilities and what they are
    Capabilities(RemoteArgs),
}

/// `ferrocti access …`
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Say why a user may or may not do something with an object: which group, which role, which marking is missing, whose confidence wins
    Explain {
        /// Id, e-mail address or name
        #[arg(long)]
        user: String,
        /// What the user would do
        #[arg(long)]
        action: AccessAction,
        /// Any id of the object
        #[arg(long, value_name = "ID")]
        object: String,
        /// Which platform
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// What a user would do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessAction {
    /// See it.
    Read,
    /// Change it.
    Update,
    /// Deliver it again, as connectors do.
    Upsert,
    /// Delete it.
    Delete,
}

/// `ferrocti doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Data directory of a stopped platform, instead of --url [env: FERROCTI_DATA_DIR]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub data_dir: Option<PathBuf>,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `ferrocti audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// From when on: a date, or how long ago, e.g. 24h or 7d
    #[arg(long, value_name = "DATE|AGE", value_parser = moment)]
    pub since: Option<String>,
    /// Until when
    #[arg(long, value_name = "DATE|AGE", value_parser = moment)]
    pub until: Option<String>,
    /// Only what this user did: id, e-mail address or name; of a deleted user the id
    #[arg(long)]
    pub user: Option<String>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = ["authentication", "read", "mutation", "file", "command"])]
    pub types: Vec<String>,
    /// Only events of this scope, e.g. login, create, update, delete, unauthorized; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Only what was refused or failed
    #[arg(long)]
    pub errors: bool,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Which platform
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `Report=30`
fn type_confidence(text: &str) -> Result<(String, u8), String> {
    let wrong = || format!("{text:?} is not of the form Report=30, with a number from 0 to 100");
    let (entity_type, level) = text.split_once('=').ok_or_else(wrong)?;
    let level = level.parse().ok().filter(|level| *level <= 100);
    match level {
        Some(level) if !entity_type.trim().is_empty() => Ok((entity_type.trim().to_owned(), level)),
        _ => Err(wrong()),
    }
}

/// A date in the API's form.
fn date(text: &str) -> Result<String, String> {
    moment_of(text, None)
}

fn date_or_never(text: &str) -> Result<String, String> {
    if text == "never" {
        Ok(text.to_owned())
    } else {
        date(text)
    }
}

/// A date, or an age that is turned into one.
fn moment(text: &str) -> Result<String, String> {
    moment_of(text, Some(jiff::Timestamp::now()))
}

fn moment_of(text: &str, now: Option<jiff::Timestamp>) -> Result<String, String> {
    let aged = now.and_then(|now| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return None,
        };
        let age = number.parse::<u32>().ok()?;
        now.checked_sub(jiff::SignedDuration::from_secs(i64::from(age) * seconds))
            .ok()
    });
    let timestamp = aged
        .or_else(|| text.parse().ok())
        .or_else(|| format!("{text}T00:00:00Z").parse().ok());
    match timestamp {
        Some(timestamp) => Ok(format!("{timestamp:.3}")),
        None if now.is_some() => Err(format!(
            "{text:?} is neither a date (2027-01-31, 2027-01-31T12:00:00Z) nor an age (30m, 24h, 7d, 4w)"
        )),
        None => Err(format!(
            "{text:?} is not a date; give e.g. 2027-01-31 or 2027-01-31T12:00:00Z"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ages_become_moments() {
        let now: jiff::Timestamp = "2027-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2027-01-30", "2027-01-30T00:00:00.000Z"),
            ("2027-01-30T01:02:03Z", "2027-01-30T01:02:03.000Z"),
            ("2027-01-30T01:02:03+01:00", "2027-01-30T00:02:03.000Z"),
            ("24h", "2027-01-30T12:00:00.000Z"),
            ("7d", "2027-01-24T12:00:00.000Z"),
            ("30m", "2027-01-31T11:30:00.000Z"),
        ] {
            assert_eq!(
                moment_of(text, Some(now)).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in ["", "d", "yesterday", "-1d", "24", "é"] {
            assert!(moment_of(text, Some(now)).is_err(), "{text}");
        }
        assert!(
            date("24h").is_err(),
            "an account does not expire an age ago"
        );
        assert_eq!(date_or_never("never").as_deref(), Ok("never"));
    }

    #[test]
    fn confidence_by_type_is_read() {
        assert_eq!(type_confidence("Report=30"), Ok(("Report".to_owned(), 30)));
        for text in ["Report", "Report=", "Report=101", "=3", "Report=-1"] {
            assert!(type_confidence(text).is_err(), "{text}");
        }
    }
}
