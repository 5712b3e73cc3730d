//! Users by name, from the local files. A directory service behind NSS is not asked.

use std::fs;
use std::path::Path;

use stead_model::wire::guard::UserIds;

/// Looks a user up, and whether this node may start programs as that user.
///
/// # Errors
/// One sentence that says why not.
pub(crate) fn find(name: &str) -> Result<UserIds, String> {
    let ids = find_in(name, Path::new("/etc/passwd"), Path::new("/etc/group"))?;
    if !rustix::process::geteuid().is_root() {
        let own = rustix::process::geteuid().as_raw();
        return Err(format!("running as `{name}` needs root; stead runs as user {own}"));
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if is_mapped(&map, ids.uid) {
        return Ok(ids);
    }
    Err(format!("running as `{name}` needs root; stead runs in a user namespace without that user"))
}

fn find_in(name: &str, passwd: &Path, group: &Path) -> Result<UserIds, String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    let users = read(passwd)?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = fields.into_iter().find(|f| f.first() == Some(&name));
    let user = user.ok_or_else(|| format!("there is no user `{name}` on this node"))?;
    let number = |at: usize| user.get(at).and_then(|n| n.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number(2), number(3)) else {
        return Err(format!("user `{name}` has no numbers in {}", passwd.display()));
    };
    let groups = groups_of(name, gid, &read(group)?);
    Ok(UserIds { uid, gid, groups })
}

fn groups_of(name: &str, gid: u32, groups: &str) -> Vec<u32> {
    let lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let member = lines.filter_map(|f| {
        let named = f.get(3)?.split(',').any(|member| member == name);
        f.get(2)?.parse().ok().filter(|_| named)
    });
    std::iter::once(gid).chain(member.filter(|g| *g != gid)).collect()
}

/// Whether a user number exists in a user namespace with that `uid_map`.
fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        (first..first + count).contains(&u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_all_groups() {
        let folder = tempfile::tempdir().unwrap();
        let (passwd, group) = (folder.path().join("passwd"), folder.path().join("group"));
        fs::write(&passwd, "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n").unwrap();
        fs::write(&group, "web:x:33:\nssl:x:44:mail,web\nlog:x:45:mail\n").unwrap();
        let ids = find_in("web", &passwd, &group).unwrap();
        assert_eq!(ids, UserIds { uid: 33, gid: 33, groups: vec![33, 44] });
        let why = find_in("nobody", &passwd, &group).unwrap_err();
        assert_eq!(why, "there is no user `nobody` on this node");
    }

    #[test]
    fn a_user_namespace_has_only_mapped_users() {
        assert!(is_mapped("         0          0 4294967295\n", 33));
        assert!(is_mapped("0 1000 1\n", 0));
        assert!(!is_mapped("0 1000 1\n", 33));
    }
}
