//! The kit on the store, on a plain one in memory, and on stores that each do one thing wrong.

use ringfence_store::{Store, kit, kit::Harness};

use crate::plain::{Fault, Plains};

/// Stores in files of one folder.
struct Files {
    home: tempfile::TempDir,
    count: u32,
}

impl Files {
    fn open(&self) -> Store {
        Store::open(&self.home.path().join(format!("{}.db", self.count))).unwrap()
    }
}

impl Harness for Files {
    type Subject = Store;

    fn fresh(&mut self) -> Store {
        self.count += 1;
        self.open()
    }

    fn reopen(&mut self, store: Store) -> Store {
        drop(store);
        self.open()
    }
}

#[tokio::test]
async fn the_kit_holds_on_the_store() {
    let mut files = Files { home: tempfile::tempdir().unwrap(), count: 0 };
    assert_eq!(kit::check(&mut files).await, []);
}

#[tokio::test]
async fn the_kit_holds_on_a_plain_store() {
    assert_eq!(kit::check(&mut Plains(Fault::None)).await, []);
}

/// Whoever does one thing wrong does not pass, and the case says what it is.
#[tokio::test]
async fn the_kit_finds_what_is_wrong() {
    for (fault, case) in [
        (Fault::IgnoresFences, "a_newer_claim_fences_the_older"),
        (Fault::IgnoresPlaces, "places_are_checked"),
        (Fault::LosesTheLastEvent, "events_are_read_as_they_were_written"),
        (Fault::Reorders, "events_are_read_as_they_were_written"),
        (Fault::LeavesHalf, "batches_together_fail_apart"),
        (Fault::MixesTenants, "tenants_are_apart"),
        (Fault::PutsCommandsTwice, "a_command_with_a_key_comes_once"),
        (Fault::KeepsDoneCommands, "commands_are_done_once"),
        (Fault::Overspends, "budgets_are_held"),
        (Fault::Overfills, "full_memory_takes_nothing_more"),
        (Fault::ForgetsWhenClosed, "what_is_acknowledged_is_there_when_opened_again"),
        (Fault::SkipsKeys, "keys_come_in_pages"),
        (Fault::ForgetsWhatWaits, "what_is_open_is_found"),
    ] {
        let failed = kit::check(&mut Plains(fault)).await;
        let cases: Vec<&str> = failed.iter().map(|failed| failed.case).collect();
        assert!(cases.contains(&case), "{fault:?}: {failed:?}");
    }
}
