//! `user[:group]` as the image's files understand it (OCI image specification, config.md, `User`).

use nix::unistd::{Gid, Uid};

use super::accounts::{accounts, groups, number};

/// Most supplementary groups Linux gives a process (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// Why nobody is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in the image's passwd file, and not a number.
    #[error("Unable to find user {0:?}: no matching entries in /etc/passwd")]
    User(String),
    /// Not in the image's group file, and not a number.
    #[error("Unable to find group {0:?}: no matching entries in /etc/group")]
    Group(String),
    /// Linux numbers users and groups with 32 bits.
    #[error("{0:?} is no user or group number: those go up to {max}", max = u32::MAX - 1)]
    Number(String),
}

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: Uid,
    /// First group.
    pub gid: Gid,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
    /// Home directory.
    pub home: String,
}

/// Finds out who `specification` is: `user`, `uid`, `user:group` in every mix of names and numbers; empty means root.
///
/// A name or a number that is listed in `passwd` brings its first group and its home, and, unless a group is named, the
/// groups that list it in `group`. A number that is not listed is taken as it is.
pub fn resolve(specification: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Error> {
    let (user, group_name) = specification.split_once(':').unwrap_or((specification, ""));
    let user = if user.is_empty() { "0" } else { user };
    let wanted = parse(user)?;
    let account = accounts(passwd).find(|account| match wanted {
        Some(uid) => account.uid == uid,
        None => account.name == user.as_bytes(),
    });
    let (uid, gid) = match (&account, wanted) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(Error::User(user.to_owned())),
    };
    let home = match &account {
        Some(account) if !account.home.is_empty() => String::from_utf8_lossy(account.home).into_owned(),
        None if uid == 0 => "/root".to_owned(),
        _ => "/".to_owned(),
    };
    let mut identity = Identity { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups: Vec::new(), home };
    if !group_name.is_empty() {
        identity.gid = Gid::from_raw(find_group(group_name, group)?);
    } else if let Some(account) = account {
        let listed = groups(group).filter(|group| group.has_member(account.name)).map(|group| Gid::from_raw(group.gid));
        identity.groups = listed.take(MOST_GROUPS - 1).collect();
    }
    if !identity.groups.contains(&identity.gid) {
        identity.groups.insert(0, identity.gid);
    }
    Ok(identity)
}

fn find_group(name: &str, group: &[u8]) -> Result<u32, Error> {
    if let Some(gid) = parse(name)? {
        return Ok(gid);
    }
    let found = groups(group).find(|group| group.name == name.as_bytes());
    found.map(|group| group.gid).ok_or_else(|| Error::Group(name.to_owned()))
}

/// A number, or `None` for a name; what looks like a number is never taken for a name.
fn parse(text: &str) -> Result<Option<u32>, Error> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    number(text.as_bytes()).map(Some).ok_or_else(|| Error::Number(text.to_owned()))
}

#[cfg(test)]
#[path = "user_test.rs"]
mod tests;
