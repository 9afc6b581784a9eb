//! One budget over guest and host work. The engine counts guest work; this counts what the host
//! does for the guest and takes it out of the same fuel. Shared with the futures that outlive a
//! host call (HTTP bodies), so all counters are atomic.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use ringfence_event::{CallLimits, Limit, Usage};

use crate::cost;

/// A limit was met. The sandbox turns it into a trap; the call ends as `limit-reached`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call reached its {0} limit")]
pub struct LimitReached(pub Limit);

/// The meter of one call.
#[derive(Debug)]
pub struct Meter {
    limits: CallLimits,
    /// What the engine still had when it last entered the host.
    fuel_left: AtomicU64,
    /// Host work that the engine's counter does not show yet.
    unsettled: AtomicU64,
    /// The crossings into the host that have not ended, a bit each, the innermost last: 1 for a function
    /// that the guest called.
    crossings: AtomicU64,
    host_work: AtomicU64,
    host_calls: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    egress: AtomicU64,
    output: AtomicU64,
    logs: AtomicU64,
    requests: AtomicU64,
    random: AtomicU64,
    stored: AtomicU64,
    stopped: OnceLock<Limit>,
}

impl Meter {
    /// A meter with nothing spent.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        Self {
            fuel_left: AtomicU64::new(limits.fuel),
            limits,
            unsettled: AtomicU64::default(),
            crossings: AtomicU64::default(),
            host_work: AtomicU64::default(),
            host_calls: AtomicU64::default(),
            bytes_read: AtomicU64::default(),
            bytes_written: AtomicU64::default(),
            egress: AtomicU64::default(),
            output: AtomicU64::default(),
            logs: AtomicU64::default(),
            requests: AtomicU64::default(),
            random: AtomicU64::default(),
            stored: AtomicU64::default(),
            stopped: OnceLock::new(),
        }
    }

    /// What may be spent.
    #[must_use]
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// What the engine has now, so that what is charged next is held against it.
    pub fn look(&self, fuel_left: u64) {
        self.fuel_left.store(fuel_left, Relaxed);
    }

    /// The guest crosses into the host, and the engine has `fuel_left`. That itself is charged, and seen to be
    /// too much no later than when it ends: until then it may turn out to cost nothing.
    pub fn enter(&self, fuel_left: u64) -> Result<(), LimitReached> {
        self.go_on()?;
        self.look(fuel_left);
        count(&self.host_calls, 1);
        self.unsettled.fetch_add(cost::HOST_CALL, Relaxed);
        self.crossings.store(self.crossings.load(Relaxed) << 1, Relaxed);
        Ok(())
    }

    /// What began is a function that the guest called: it looks at the engine's count again when that ends. Where
    /// the engine itself crosses over, to grow a memory or to ask how late it is, it goes on with the count
    /// that it has in a register, and what is taken out of the other one is lost.
    pub fn is_called(&self) {
        self.crossings.store(self.crossings.load(Relaxed) | 1, Relaxed);
    }

    /// What began was the engine's own question to a guest that computes. How often that comes depends on the
    /// time, so it must not cost anything.
    pub fn interrupted(&self) {
        self.host_calls.store(self.host_calls.load(Relaxed).saturating_sub(1), Relaxed);
        self.unsettled.fetch_sub(cost::HOST_CALL, Relaxed);
    }

    /// The host is left, and the engine has `fuel_left`: what it is to have from now on, if that is another
    /// number. What cannot be taken out of it now is taken out when the next function that the guest calls
    /// ends, and held against it until then.
    pub fn leave(&self, fuel_left: u64) -> Result<Option<u64>, LimitReached> {
        let crossings = self.crossings.load(Relaxed);
        self.crossings.store(crossings >> 1, Relaxed);
        self.go_on()?;
        let unsettled = self.unsettled.load(Relaxed);
        let Some(left) = fuel_left.checked_sub(unsettled).filter(|left| *left > 0) else {
            // What was too much is not settled, and not more than there was.
            self.unsettled.store(fuel_left, Relaxed);
            return Err(self.stop(Limit::Fuel));
        };
        if crossings & 1 == 0 {
            return Ok(None);
        }
        // Not all of it: a body that flows meanwhile may have added to it.
        self.unsettled.fetch_sub(unsettled, Relaxed);
        count(&self.host_work, unsettled);
        self.fuel_left.store(left, Relaxed);
        Ok(Some(left))
    }

    /// Charges host work before it is done. Refused if it does not fit into what is left; then
    /// nothing is charged and nothing is to be done.
    pub fn charge(&self, units: u64) -> Result<(), LimitReached> {
        let left = self.fuel_left.load(Relaxed);
        let fits = |unsettled: u64| unsettled.checked_add(units).filter(|sum| *sum < left);
        match self.unsettled.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.stop(Limit::Fuel)),
        }
    }

    /// Charges bytes at `price` each.
    fn charge_bytes(&self, bytes: u64, price: u64) -> Result<(), LimitReached> {
        self.charge(bytes.saturating_mul(price))
    }

    /// Counts bytes about to be read from a file or a bucket.
    pub fn read(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge_bytes(bytes, cost::BYTE)?;
        self.bytes_read.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Counts bytes about to be written to a file.
    pub fn write(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge_bytes(bytes, cost::BYTE)?;
        self.bytes_written.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Counts bytes about to be written to a memory bucket.
    pub fn store(&self, bytes: u64) -> Result<(), LimitReached> {
        self.spend(&self.stored, bytes, self.limits.storage, Limit::Storage)?;
        self.write(bytes)
    }

    /// Counts bytes that came from the network.
    pub fn receive(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge_bytes(bytes, cost::NETWORK_BYTE)?;
        self.bytes_read.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Counts bytes that came compressed and are about to be decoded.
    pub fn decode(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge_bytes(bytes, cost::CODED_BYTE)
    }

    /// Counts bytes that came out of a decoder, beside those that went in.
    pub fn decoded(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge_bytes(bytes, cost::DECODED_BYTE)?;
        self.bytes_read.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Counts bytes about to be sent to the network.
    pub fn send(&self, bytes: u64) -> Result<(), LimitReached> {
        self.spend(&self.egress, bytes, self.limits.egress, Limit::Egress)?;
        self.charge_bytes(bytes, cost::NETWORK_BYTE)
    }

    /// Counts an HTTP request, a connection or a peer of datagrams about to be had.
    pub fn request(&self) -> Result<(), LimitReached> {
        self.spend(&self.requests, 1, self.limits.requests, Limit::Requests)?;
        self.charge(cost::HTTP_REQUEST)
    }

    /// Counts random bytes about to be drawn.
    pub fn random(&self, bytes: u64) -> Result<(), LimitReached> {
        self.spend(&self.random, bytes, self.limits.random, Limit::Random)?;
        self.charge_bytes(bytes, cost::RANDOM_BYTE)
    }

    /// Counts output, emitted or returned.
    pub fn output(&self, bytes: u64) -> Result<(), LimitReached> {
        self.spend(&self.output, bytes, self.limits.output, Limit::Output)?;
        self.charge_bytes(bytes, cost::BYTE)
    }

    /// Counts a note: a record with a text of `bytes`. An empty one has its price too.
    pub fn note(&self, bytes: u64) -> Result<(), LimitReached> {
        self.charge(cost::NOTE)?;
        self.log(bytes)
    }

    /// Counts what is logged or printed.
    pub fn log(&self, bytes: u64) -> Result<(), LimitReached> {
        self.spend(&self.logs, bytes, self.limits.logs, Limit::Logs)?;
        self.charge_bytes(bytes, cost::TEXT_BYTE)
    }

    fn spend(
        &self,
        counter: &AtomicU64,
        amount: u64,
        limit: u64,
        name: Limit,
    ) -> Result<(), LimitReached> {
        let fits = |spent: u64| spent.checked_add(amount).filter(|sum| *sum <= limit);
        match counter.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.stop(name)),
        }
    }

    /// Notes which limit stops the call. The first one counts: what follows is its echo.
    pub fn stop(&self, limit: Limit) -> LimitReached {
        LimitReached(*self.stopped.get_or_init(|| limit))
    }

    /// Whether the call goes on. A limit that was met where nothing could be returned to the engine,
    /// in the body of a request that is under way, ends the call here.
    pub fn go_on(&self) -> Result<(), LimitReached> {
        self.stopped().map_or(Ok(()), |limit| Err(LimitReached(limit)))
    }

    /// The limit that stopped the call, if one did.
    #[must_use]
    pub fn stopped(&self) -> Option<Limit> {
        self.stopped.get().copied()
    }

    /// What was spent. `fuel_left` is the engine's count, or `None` if the engine never started;
    /// the peaks and the time are the sandbox's to fill in.
    #[must_use]
    pub fn usage(&self, fuel_left: Option<u64>) -> Usage {
        let settled = self.host_work.load(Relaxed);
        let gone = fuel_left.map_or(0, |left| self.limits.fuel.saturating_sub(left));
        // The price of a call that was never settled may be more than there was.
        let left = fuel_left.unwrap_or(self.limits.fuel);
        let unsettled = self.unsettled.load(Relaxed).min(left);
        Usage {
            fuel: gone.saturating_sub(settled),
            host_work: settled.saturating_add(unsettled),
            host_calls: self.host_calls.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            storage_bytes: self.stored.load(Relaxed),
            egress_bytes: self.egress.load(Relaxed),
            output_bytes: self.output.load(Relaxed),
            log_bytes: self.logs.load(Relaxed),
            requests: self.requests.load(Relaxed),
            random_bytes: self.random.load(Relaxed),
            ..Usage::default()
        }
    }
}

/// Adds to a counter that only the call's own thread writes, which is cheaper than [`AtomicU64`]'s
/// own addition: these two are met twice in every host call.
fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).saturating_add(more), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(change: impl FnOnce(&mut CallLimits)) -> Meter {
        let mut limits = CallLimits::DEFAULT;
        change(&mut limits);
        Meter::new(limits)
    }

    #[test]
    fn host_work_comes_out_of_the_same_fuel() {
        let meter = meter(|limits| limits.fuel = 10_000);
        meter.enter(9_000).unwrap();
        meter.is_called();
        meter.charge(2_000).unwrap();
        assert_eq!(meter.leave(9_000), Ok(Some(9_000 - cost::HOST_CALL - 2_000)));
        let usage = meter.usage(Some(6_000));
        assert_eq!((usage.fuel, usage.host_work), (1_000, 3_000));
        assert_eq!(usage.fuel_total(), 4_000);
    }

    #[test]
    fn what_does_not_fit_is_neither_charged_nor_done() {
        let meter = meter(|limits| limits.fuel = 10_000);
        meter.enter(10_000).unwrap();
        assert_eq!(meter.charge(9_000), Err(LimitReached(Limit::Fuel)));
        assert_eq!(meter.charge(8_999), Ok(()));
        assert_eq!(meter.usage(Some(10_000)).host_work, 9_999);
        assert_eq!(meter.stopped(), Some(Limit::Fuel));
    }

    /// Each counter stops at its own limit, exactly, and says its own name.
    #[test]
    fn each_counter_has_its_limit() {
        type Count = fn(&Meter, u64) -> Result<(), LimitReached>;
        type Set = fn(&mut CallLimits);
        let cases: [(Limit, Set, Count); 6] = [
            (Limit::Output, |l| l.output = 10, Meter::output),
            (Limit::Logs, |l| l.logs = 10, Meter::log),
            (Limit::Egress, |l| l.egress = 10, Meter::send),
            (Limit::Random, |l| l.random = 10, Meter::random),
            (Limit::Storage, |l| l.storage = 10, Meter::store),
            (Limit::Requests, |l| l.requests = 10, |m, n| (0..n).try_for_each(|_| m.request())),
        ];
        for (limit, set, count) in cases {
            let meter = meter(set);
            assert_eq!(count(&meter, 10), Ok(()), "{limit}");
            assert_eq!(meter.stopped(), None, "{limit}");
            assert_eq!(count(&meter, 1), Err(LimitReached(limit)), "{limit}");
            assert_eq!(meter.stopped(), Some(limit));
        }
    }

    #[test]
    fn a_host_call_that_does_not_fit_ends_the_call_with_all_its_fuel_spent() {
        let meter = meter(|limits| limits.fuel = 10_000);
        meter.enter(cost::HOST_CALL).unwrap();
        assert_eq!(meter.leave(cost::HOST_CALL), Err(LimitReached(Limit::Fuel)));
        let usage = meter.usage(Some(cost::HOST_CALL));
        assert_eq!((usage.fuel_total(), usage.host_work), (10_000, cost::HOST_CALL));
    }

    #[test]
    fn a_price_that_does_not_fit_is_not_reported_beyond_what_there_was() {
        let meter = meter(|limits| limits.fuel = 10_000);
        meter.enter(400).unwrap();
        assert_eq!(meter.charge(10), Err(LimitReached(Limit::Fuel)));
        assert_eq!(meter.leave(400), Err(LimitReached(Limit::Fuel)));
        assert_eq!(meter.usage(Some(400)).fuel_total(), 10_000);
    }

    /// C1: whether the engine asks in between, and how often, changes no count.
    #[test]
    fn c1_an_interruption_costs_nothing() {
        let meter = meter(|limits| limits.fuel = 10_000);
        meter.enter(10).unwrap();
        meter.interrupted();
        assert_eq!(meter.leave(10), Ok(None));
        assert_eq!(meter.usage(Some(10)).host_calls, 0);
        assert_eq!(meter.usage(Some(10)).host_work, 0);
    }

    /// C1: the engine asks while the guest makes room for the answer of a function that it called.
    #[test]
    fn c1_what_is_not_taken_out_now_is_held_against_it_and_taken_out_later() {
        let fresh = || meter(|limits| limits.fuel = 10_000);
        let meter = fresh();
        meter.enter(9_000).unwrap();
        meter.is_called();
        meter.charge(2_000).unwrap();
        meter.enter(8_990).unwrap();
        meter.interrupted();
        assert_eq!(meter.leave(8_990), Ok(None));
        assert_eq!(meter.charge(6_000), Err(LimitReached(Limit::Fuel)), "it is held against it");
        let meter = fresh();
        meter.enter(9_000).unwrap();
        meter.is_called();
        meter.charge(2_000).unwrap();
        meter.enter(8_990).unwrap();
        assert_eq!(meter.leave(8_990), Ok(None), "a memory that grows is charged, and not settled");
        assert_eq!(meter.leave(8_980), Ok(Some(8_980 - 2 * cost::HOST_CALL - 2_000)));
        let usage = meter.usage(Some(4_980));
        assert_eq!((usage.fuel, usage.host_work), (1_020, 4_000));
        meter.enter(1_000).unwrap();
        assert_eq!(meter.leave(1_000), Err(LimitReached(Limit::Fuel)), "growing is not free");
    }

    #[test]
    fn a_call_that_met_a_limit_does_not_go_on() {
        let meter = meter(|limits| limits.requests = 0);
        meter.enter(10_000).unwrap();
        assert_eq!(meter.request(), Err(LimitReached(Limit::Requests)));
        assert_eq!(meter.leave(10_000), Err(LimitReached(Limit::Requests)));
        assert_eq!(meter.enter(10_000), Err(LimitReached(Limit::Requests)));
    }

    #[test]
    fn the_first_limit_counts() {
        let meter = meter(|limits| limits.output = 0);
        assert_eq!(meter.output(1), Err(LimitReached(Limit::Output)));
        assert_eq!(meter.charge(u64::MAX), Err(LimitReached(Limit::Output)));
    }
}
