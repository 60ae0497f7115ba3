//! Users, groups and permissions on the command line.

use nix::unistd::{Group, User};
use socketserver::printable;

/// How much of a name an error quotes, in bytes.
const LONGEST_SHOWN: usize = 100;

/// A user, a group, or both, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user; `None` to leave it.
    pub user: Option<u32>,
    /// The group; `None` to leave it.
    pub group: Option<u32>,
}

/// Parses `USER`, `USER:GROUP` or `:GROUP`, each a name or a number.
pub fn owner(text: &str) -> Result<Owner, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if user.is_empty() && group.is_empty() {
        return Err("write USER, USER:GROUP or :GROUP".to_owned());
    }
    let if_given = |text: &str, parse: fn(&str) -> Result<u32, String>| match text {
        "" => Ok(None),
        text => parse(text).map(Some),
    };
    Ok(Owner { user: if_given(user, self::user)?, group: if_given(group, self::group)? })
}

/// Parses a user, a name or a number.
pub fn user(text: &str) -> Result<u32, String> {
    by_name(text, "user", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

/// Parses a group, a name or a number.
pub fn group(text: &str) -> Result<u32, String> {
    by_name(text, "group", |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

/// Whom a process is to be, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// Parses `USER` or `USER:GROUP`, each a name or a number. Without a group, it is
/// that of the user.
///
/// Errors: there is none of that name; it is root.
pub fn identity(text: &str) -> Result<Identity, String> {
    let Owner { user, group } = owner(text)?;
    let user = user.ok_or("write USER or USER:GROUP")?;
    if user == 0 {
        return Err("that is root: name a user with fewer rights".to_owned());
    }
    let group_of = || match User::from_uid(user.into()) {
        Ok(Some(known)) => Ok(known.gid.as_raw()),
        Ok(None) => Err(format!("nobody knows the group of user {user}: write {user}:GROUP")),
        Err(error) => Err(format!("cannot look up the group of user {user}: {error}")),
    };
    Ok(Identity { user, group: group.map_or_else(group_of, Ok)? })
}

fn by_name(
    text: &str,
    what: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    // All ones is nobody: calls that take a user take it for "leave it".
    let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(number) = number(text)
    {
        return Ok(number);
    }
    let shown = || printable(text, LONGEST_SHOWN);
    match find(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no {what} `{}`", shown())),
        Err(error) => Err(format!("cannot look up the {what} `{}`: {error}", shown())),
    }
}

/// Parses permissions as `chmod` takes them: `660`.
pub fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(mode),
        _ => Err("write permissions such as 660".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        let of = |user, group| Ok(Owner { user, group });
        assert_eq!(owner("root"), of(Some(0), None));
        assert_eq!(owner("root:root"), of(Some(0), Some(0)));
        assert_eq!(owner(":12"), of(None, Some(12)));
        assert_eq!(owner("7:8"), of(Some(7), Some(8)));
        for wrong in ["", ":", "no such user", "root:no such group", "-1", "99999999999"] {
            assert!(owner(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn identities() {
        let of = |user, group| Ok(Identity { user, group });
        assert_eq!(identity("7:8"), of(7, 8));
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        assert_eq!(identity("nobody"), of(user, group));
        assert_eq!(identity("nobody:9"), of(user, 9));
        assert_eq!(identity(&user.to_string()), of(user, group));
        for wrong in ["", ":8", "root", "0:8", "no such user", "4242424242", "4294967295:1"] {
            assert!(identity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_quote_names_cut_and_escaped() {
        let error = owner(&"\n".repeat(1000)).unwrap_err();
        assert!(error.starts_with(r"there is no user `\n\n") && error.len() < 300, "{error:?}");
    }

    #[test]
    fn modes() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0600"), Ok(0o600));
        for wrong in ["", "8", "1777", "+660", "-1", "rw"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
