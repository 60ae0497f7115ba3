//! Users, groups and permissions.

use nix::unistd::{Group, User};
use socketserver::printable;

/// The number of bytes of a name that an error quotes.
const LONGEST_SHOWN: usize = 100;

/// The owner of a file: a user, a group, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user, or `None` to keep the one that the file has.
    pub user: Option<u32>,
    /// The group, or `None` to keep the one that the file has.
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

/// The user and the group that a process becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// Parses `USER` or `USER:GROUP`, each a name or a number. The group defaults to the
/// primary group of the user.
///
/// # Errors
///
/// There is no such user or group, or the user is root.
pub fn identity(text: &str) -> Result<Identity, String> {
    let Owner { user, group } = owner(text)?;
    let user = user.ok_or("write USER or USER:GROUP")?;
    if user == 0 {
        return Err("that is root: name a user with fewer rights".to_owned());
    }
    let primary_group = || match User::from_uid(user.into()) {
        Ok(Some(known)) => Ok(known.gid.as_raw()),
        Ok(None) => Err(format!("user {user} has no known group: write {user}:GROUP")),
        Err(error) => Err(format!("cannot look up the group of user {user}: {error}")),
    };
    Ok(Identity { user, group: group.map_or_else(primary_group, Ok)? })
}

fn by_name(
    text: &str,
    what: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    // System calls take this number for "keep the user".
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
    fn an_owner_is_a_user_or_a_group_or_both() {
        let ids = |user, group| Ok(Owner { user, group });
        assert_eq!(owner("root"), ids(Some(0), None));
        assert_eq!(owner("root:root"), ids(Some(0), Some(0)));
        assert_eq!(owner(":12"), ids(None, Some(12)));
        assert_eq!(owner("7:8"), ids(Some(7), Some(8)));
        for wrong in ["", ":", "no such user", "root:no such group", "-1", "99999999999"] {
            assert!(owner(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_identity_is_a_user_other_than_root_and_a_group() {
        let ids = |user, group| Ok(Identity { user, group });
        assert_eq!(identity("7:8"), ids(7, 8));
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        assert_eq!(identity("nobody"), ids(user, group));
        assert_eq!(identity("nobody:9"), ids(user, 9));
        assert_eq!(identity(&user.to_string()), ids(user, group));
        for wrong in ["", ":8", "root", "0:8", "no such user", "4242424242", "4294967295:1"] {
            assert!(identity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_cut_and_escape_names() {
        let error = owner(&"\n".repeat(1000)).unwrap_err();
        assert!(error.starts_with(r"there is no user `\n\n") && error.len() < 300, "{error:?}");
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0600"), Ok(0o600));
        for wrong in ["", "8", "1777", "+660", "-1", "rw"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
