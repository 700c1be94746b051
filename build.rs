//! Embeds what every microVM boots: the guest kernel from scripts/kernel and guest-init, built here.

#![allow(clippy::panic, reason = "a build script says what is wrong by panicking")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let output = PathBuf::from(variable("OUT_DIR"));
    let kernel = guest_kernel(&root);
    let bytes = fs::read(&kernel).unwrap_or_else(|error| fail(&kernel, &error));
    fs::write(output.join("vmlinux.zst"), &bytes).unwrap_or_else(|error| fail(&output, &error));
    println!("cargo::rustc-env=CORACLE_KERNEL_HASH={:016x}", hash(&bytes));
    let init = guest_init(&root, &output);
    fs::copy(&init, output.join("guest-init")).unwrap_or_else(|error| fail(&init, &error));
}

/// The compressed kernel: the file named by `CORACLE_KERNEL`, or the one that `scripts/kernel` has built.
fn guest_kernel(root: &Path) -> PathBuf {
    println!("cargo::rerun-if-env-changed=CORACLE_KERNEL");
    println!("cargo::rerun-if-changed=scripts/kernel");
    println!("cargo::rerun-if-changed=scripts/guest-kernel");
    let kernel = env::var_os("CORACLE_KERNEL").map(PathBuf::from).unwrap_or_else(|| {
        let found = Command::new(root.join("scripts/kernel")).arg("--path").output();
        let output = found.unwrap_or_else(|error| fail(&root.join("scripts/kernel"), &error));
        if !output.status.success() {
            panic!("there is no guest kernel to embed yet: run scripts/kernel, or scripts/setup, once");
        }
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    });
    println!("cargo::rerun-if-changed={}", kernel.display());
    kernel
}

/// Tells one kernel from another in the name of the file it is unpacked to; nobody attacks their own build.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Builds guest-init, static and small, in a target folder of its own: this build holds the lock of the usual one.
fn guest_init(root: &Path, output: &Path) -> PathBuf {
    for folder in ["guest-init", "config", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    let target = variable("TARGET").to_string_lossy().into_owned();
    let folder = output.join("guest-init-target");
    let status = Command::new(variable("CARGO"))
        .current_dir(root)
        .args(["build", "--package", "guest-init", "--release", "--locked", "--quiet", "--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        // Checks of the code that includes it (clippy, for one) come with their own compiler wrapper and flags.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .status();
    match status {
        Ok(status) if status.success() => folder.join(target).join("release/guest-init"),
        Ok(status) => panic!("building guest-init failed: {status}"),
        Err(error) => panic!("cannot run cargo to build guest-init: {error}"),
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo did not set {name}"))
}

fn fail(path: &Path, error: &dyn std::fmt::Display) -> ! {
    panic!("cannot use {}: {error}", path.display())
}
