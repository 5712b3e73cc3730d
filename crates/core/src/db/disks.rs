//! One disk belongs to one resource: the unit of ownership is the whole disk, with all its
//! partitions, for that is what a reservation is for.

use stead_model::GroupId;
use stead_model::reason::{Code, Reason};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{DISK, MOUNT_POINT, PHYSICAL_DISK};

use super::Db;

/// Refuses a disk that another resource has, and a name that means a part of a disk.
pub(super) fn check(db: &Db, group: &GroupId, resource: &ResourceConfig) -> Result<(), Reason> {
    let Some(disk) = property(resource, DISK) else { return Ok(()) };
    let refused = |code, text: String| {
        Reason::new(code, format!("resource `{}` cannot have disk `{disk}`", resource.id))
            .because(text)
    };
    if let Some((whole, number)) = partition(disk) {
        let text = "it names a partition; a resource owns the whole disk".to_owned();
        return Err(refused(Code::Invalid, text)
            .hint(format!("give `disk={whole}` and `partition={number}`")));
    }
    for (home, other) in others(db, resource) {
        if property(other, DISK) == Some(disk) {
            let has = format!("resource `{}` of group `{home}` has it", other.id);
            let refused = if home == group {
                refused(Code::Conflict, format!("{has}; one resource stands for a whole disk"))
            } else {
                let rule = "all partitions of a disk belong to one group, for a node owns it whole";
                refused(Code::Conflict, format!("{has}; {rule}"))
            };
            return Err(refused.hint("use another disk, or put what needs it into that group"));
        }
        let point = property(resource, MOUNT_POINT);
        if point.is_some() && property(other, MOUNT_POINT) == point {
            let text = format!("resource `{}` has its mount point already", other.id);
            return Err(refused(Code::Conflict, text).hint("choose another `mount-point`"));
        }
    }
    Ok(())
}

fn property<'a>(resource: &'a ResourceConfig, name: &str) -> Option<&'a str> {
    let value = resource.properties.get(name).filter(|_| resource.kind == PHYSICAL_DISK)?;
    Some(value.trim_end_matches('/'))
}

fn others<'a>(
    db: &'a Db,
    resource: &ResourceConfig,
) -> impl Iterator<Item = (&'a GroupId, &'a ResourceConfig)> {
    let all = db.groups().values();
    let all = all.flat_map(|group| group.resources.values().map(move |r| (&group.id, r)));
    let id = resource.id.clone();
    all.filter(move |(_, other)| other.id != id)
}

/// The disk and the number, if a path names a partition as udev and the kernel do.
fn partition(path: &str) -> Option<(&str, &str)> {
    let stem = path.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = path.strip_prefix(stem).filter(|number| !number.is_empty())?;
    if path.starts_with("/dev/disk/") {
        return stem.strip_suffix("-part").map(|disk| (disk, number));
    }
    let name = stem.strip_prefix("/dev/")?;
    let lettered = ["sd", "vd", "xvd", "hd"].into_iter().any(|driver| {
        let letters = name.strip_prefix(driver).unwrap_or_default();
        !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    if lettered {
        return Some((stem, number));
    }
    let disk = stem.strip_suffix('p')?;
    let numbered = ["nvme", "mmcblk", "loop", "nbd"].into_iter().any(|d| name.starts_with(d));
    (numbered && disk.ends_with(|c: char| c.is_ascii_digit())).then_some((disk, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_from_disks_by_their_names() {
        for (path, disk) in [
            ("/dev/sda1", "/dev/sda"),
            ("/dev/xvdb12", "/dev/xvdb"),
            ("/dev/nvme0n1p2", "/dev/nvme0n1"),
            ("/dev/loop3p1", "/dev/loop3"),
            ("/dev/disk/by-id/wwn-0x5-part3", "/dev/disk/by-id/wwn-0x5"),
        ] {
            assert_eq!(partition(path).map(|(disk, _)| disk), Some(disk), "{path}");
        }
        let disks = ["/dev/sda", "/dev/nvme0n1", "/dev/loop3", "/dev/stead/data1", "/dev/sd1"];
        for disk in disks.into_iter().chain(["/dev/disk/by-id/wwn-0x50", "/dev/mapper/mpath1"]) {
            assert_eq!(partition(disk), None, "{disk}");
        }
    }
}
