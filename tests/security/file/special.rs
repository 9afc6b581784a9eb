//! Folders that are no root: refused when they are granted, not when they are opened.

use std::{fs, os::unix::fs::symlink, path::Path};

use ringfence_capability::{
    Host,
    fs::{Claim, Kept, RootError},
};
use ringfence_event::{Access, Effect};
use ringfence_policy::Quota;
use ringfence_tests::{Folders, Scene, text};

fn register(host: &Host, tenant: &str, path: &Path) -> Result<(), RootError> {
    let tenant = &tenant.parse().unwrap();
    host.register(&Claim { tenant, path, access: Access::Read, quota: Quota::default() })
}

/// F7: the kernel's own folders, and whatever holds one, by their path or by a link.
#[test]
fn f7_what_is_the_kernels_is_no_root() {
    let folders = Folders::new();
    let host = Host::new();
    let link = folders.outside().join("link");
    symlink("/proc/self", &link).unwrap();
    for path in [
        "/proc",
        "/proc/self/fd",
        "/sys",
        "/sys/kernel",
        "/dev",
        "/dev/pts",
        "/",
        &link.to_string_lossy(),
    ] {
        let refused = register(&host, "acme", Path::new(path));
        assert!(matches!(refused, Err(RootError::Special { .. })), "{path}: {refused:?}");
    }
    register(&host, "acme", &folders.workspace()).unwrap();
}

/// F7: a link that leads into the kernel's own leads out of its root, like any other.
#[tokio::test]
async fn f7_no_link_leads_to_the_kernels() {
    let folders = Folders::new();
    let inside = folders.workspace();
    symlink("/proc/self/fd/0", inside.join("handle")).unwrap();
    symlink("../../../../../../proc/self/root/etc/passwd", inside.join("magic")).unwrap();
    let scene = Scene::new(Effect::Read).root("workspace", &inside, "read");
    for path in ["handle", "magic"] {
        assert_eq!(text(&scene.file("read", path).await), "error: not-permitted", "{path}");
    }
    assert_eq!(text(&scene.file("read", "a.txt").await), "hello");
}

#[test]
fn f7_the_stores_folder_is_no_root() {
    let folders = Folders::new();
    let home = folders.workspace().join("home");
    fs::create_dir_all(home.join("inside")).unwrap();
    symlink("home/inside", folders.workspace().join("way")).unwrap();
    let host = Host::keeping(&Kept { hidden: vec![home.clone()], sealed: vec![] }).unwrap();
    let inside = ["home", "home/inside", "way", "sub/../home"];
    for path in inside {
        let refused = register(&host, "acme", &folders.workspace().join(path));
        assert!(matches!(refused, Err(RootError::Store)), "{path}: {refused:?}");
    }
    // A folder that it lies in is a root, in which it is not seen.
    register(&host, "acme", &folders.workspace()).unwrap();
}

/// S4: no folder of one tenant is, holds or lies in one of another, whatever it is called.
#[test]
fn s4_folders_of_two_tenants_do_not_overlap() {
    let folders = Folders::new();
    let inside = folders.workspace();
    fs::create_dir_all(inside.join("sub/deep")).unwrap();
    symlink("sub", inside.join("other-name")).unwrap();
    let host = Host::new();
    register(&host, "acme", &inside.join("sub")).unwrap();
    for path in ["sub", "sub/deep", "other-name", "other-name/deep", ".", "sub/../sub/"] {
        let refused = register(&host, "other", &inside.join(path));
        let Err(RootError::OtherTenant { tenant }) = &refused else {
            panic!("{path}: {refused:?}")
        };
        assert_eq!(tenant.as_str(), "acme");
        let said = refused.unwrap_err().to_string();
        assert!(!said.contains("acme"), "who it is, is not for everybody: {said}");
        register(&host, "acme", &inside.join(path)).unwrap();
    }
    register(&host, "other", &folders.outside()).unwrap();
}

/// F14: what is given is what was there when it was given, also before it is first used.
#[tokio::test]
async fn f14_a_root_is_held_from_when_it_is_granted() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Read).root("workspace", &folders.workspace(), "read");
    register(scene.host(), "local", &folders.workspace()).unwrap();
    fs::rename(folders.workspace(), folders.workspace().with_file_name("moved")).unwrap();
    symlink(folders.outside(), folders.workspace()).unwrap();
    assert_eq!(text(&scene.file("read", "a.txt").await), "hello");
    assert_eq!(text(&scene.file("read", "secret.txt").await), "error: no-entry");
    // A host that is started now finds what is there now: that is the operator's to say.
    let scene = scene.with_host(Host::new());
    assert_eq!(text(&scene.file("read", "secret.txt").await), "secret");
}
