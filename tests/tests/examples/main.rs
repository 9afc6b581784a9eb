//! The examples, as their READMEs tell people to run them: each command of a README is typed in a copy
//! of the example, and what it prints is compared with what the README shows.
//! `UPDATE_EXAMPLES=1` writes what was printed into the READMEs instead.

mod mask;
mod readme;
mod stage;

use readme::check;
use stage::Service;

#[test]
fn coding_assistant() {
    check("coding-assistant", &[]);
}

#[test]
fn embed() {
    check("embed", &[]);
}

#[test]
fn limits() {
    check("limits", &[]);
}

#[test]
fn support_agent() {
    check("support-agent", &[Service { program: "orders.py", address: "127.0.0.1:8642" }]);
}

#[test]
fn two_tenants() {
    check("two-tenants", &[Service { program: "accounts.py", address: "127.0.0.1:8643" }]);
}

#[test]
fn event_pipeline() {
    check("event-pipeline", &[]);
}
