#include "framework/distributed/joined_world.h"

#include <c10/util/Logging.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "casdm/text.h"
#include "framework/device/threads.h"
#include "framework/distributed/reach.h"

namespace casdm {

namespace {

using namespace std::chrono_literals;

constexpr const char* kClaims = "claims";
constexpr const char* kFailure = "failure";
constexpr const char* kDone = "done";
/// A live process updates its counter within this time, whatever else it does.
constexpr auto kSilence = 4s;

std::chrono::seconds seconds_of(const char* name, std::int64_t otherwise) {
  constexpr std::int64_t kMost = 1'000'000;
  const char* value = std::getenv(name);
  if (value == nullptr) return std::chrono::seconds(otherwise);
  const std::string digits = value;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  if (is_number && seconds >= 1 && seconds <= kMost) return std::chrono::seconds(seconds);
  throw ConfigError(
      text("the environment has ", name, " = ", quoted(digits), "; expected whole seconds in 1..", kMost));
}

std::string own_host() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return host.data();
}

std::string own_name() { return text(own_host(), " (process ", ::getpid(), ")"); }

/// c10d's message without the source location.
std::string message_of(const std::exception& error) {
  const auto* own = dynamic_cast<const c10::Error*>(&error);
  const std::string message = own != nullptr ? own->what_without_backtrace() : error.what();
  const std::size_t begin = message.starts_with('[') ? message.find("] ") : std::string::npos;
  return printable(begin == std::string::npos ? message : message.substr(begin + 2));
}

/// While this object lives, LibTorch logs only errors; otherwise it warns, for every connection, about machines whose
/// addresses have no name.
class WithoutWarnings {
 public:
  WithoutWarnings() : before_(FLAGS_caffe2_log_level) {
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = std::max(before_, c10::GLOG_ERROR);
  }
  ~WithoutWarnings() { FLAGS_caffe2_log_level = before_; }
  WithoutWarnings(const WithoutWarnings&) = delete;
  WithoutWarnings& operator=(const WithoutWarnings&) = delete;

 private:
  int before_;
};

std::string key(const std::string& purpose, int rank) { return text(purpose, '/', rank); }

/// Of all ranks.
std::vector<std::string> keys(const std::string& purpose, int size) {
  std::vector<std::string> result(static_cast<std::size_t>(size));
  for (int i = 0; i < size; ++i) result[static_cast<std::size_t>(i)] = key(purpose, i);
  return result;
}

std::vector<std::uint8_t> bytes(const std::string& content) { return {content.begin(), content.end()}; }

}  // namespace

Patience Patience::of_environment() {
  return {seconds_of("CASDM_JOIN_SECONDS", 300), seconds_of("CASDM_WAIT_SECONDS", 1800)};
}

bool speaks_alone(const ProcessPlace& place) { return place.local_rank == (place.rank == place.local_rank ? 1 : 0); }

JoinedWorld::JoinedWorld(ProcessPlace place, Patience patience, std::function<bool()> is_cancelled)
    : place_(std::move(place)), patience_(patience), is_cancelled_(std::move(is_cancelled)) {
  c10d::TCPStoreOptions options;
  options.port = place_.port;
  options.isServer = place_.rank == 0 && !place_.has_server;
  options.waitWorkers = false;
  options.timeout = patience_.joining;
  if (!options.isServer) {
    try {
      wait_for_listener(place_.address, place_.port, static_cast<double>(patience_.joining.count()), is_cancelled_);
    } catch (const Error& error) {
      throw ProcessLost(
          text("this is rank ", place_.rank, " of ", place_.size, ", and rank 0 cannot be reached: ", error.what(),
               ". Is rank 0 running there, and may this machine connect to it? MASTER_ADDR "
               "and MASTER_PORT say where it is"),
          !speaks_alone(place_));
    }
  }
  try {
    const WithoutWarnings quiet;
    const auto store = c10::make_intrusive<c10d::TCPStore>(place_.address, options);
    store_ = c10::make_intrusive<c10d::PrefixStore>("casdm-" + place_.attempt, store);
  } catch (const std::exception& error) {
    const std::string where = text("MASTER_ADDR = ", quoted(place_.address), ", MASTER_PORT = ", place_.port, ": ");
    throw ProcessLost(
        text(where, options.isServer ? "rank 0 cannot listen there: " : "something other than casdm is listening: ",
             message_of(error), options.isServer ? ". Another MASTER_PORT may be free" : ""),
        !options.isServer && !speaks_alone(place_));
  }
  if (in_store([&] { return store_->add(key("arrivals", place_.rank), 1); }) > 1) {
    throw ProcessLost(text("there are two processes of rank ", place_.rank,
                           ": each needs its own RANK, or another run uses MASTER_ADDR = ", quoted(place_.address),
                           ", MASTER_PORT = ", place_.port),
                      false);
  }
  try {
    meet();
  } catch (const ProcessLost& lost) {
    const bool is_told = lost.is_told() || (!is_stranger_ && !claims(lost.what()));
    leave(/*has_failed=*/true);
    throw ProcessLost(lost.what(), is_told);
  }
}

JoinedWorld::~JoinedWorld() = default;

std::string JoinedWorld::name(int rank) const {
  const auto index = static_cast<std::size_t>(rank);
  return index < names_.size() ? text("rank ", rank, " on ", names_[index]) : text("rank ", rank);
}

std::string JoinedWorld::whose(int rank) const { return text(", of ", name(rank)); }

/// Each process registers, with the number of processes it expects.
void JoinedWorld::meet() {
  const std::string size = std::to_string(place_.size);
  in_store([&] {
    store_->set(key("size", place_.rank), bytes(size));
    store_->set(key("cpus", place_.rank), bytes(text(affinity_mask(), own_host())));
    store_->set(key("name", place_.rank), bytes(own_name()));
  });
  const std::string lament =
      text("this is rank ", place_.rank, " on ", own_name(), ", and rank 0 at ", quoted(place_.address),
           " has not answered for ", patience_.working.count(), " s: its machine or the network is down");
  pulse_ =
      std::make_unique<Pulse>(store_, key("pulse", place_.rank), patience_.working, speaks_alone(place_) ? lament : "");
  await({key("size", 0), key("name", 0)}, patience_.joining);
  const std::string expected = in_store([&] { return store_->get_to_str(key("size", 0)); });
  if (expected != size) {
    is_stranger_ = place_.rank >= std::atoi(expected.c_str());
    throw ProcessLost(text("rank ", place_.rank, " was started as one of ", size, " processes, and rank 0 as one of ",
                           expected, ": WORLD_SIZE must be the same everywhere"),
                      false);
  }
  names_ = values_of(keys("name", place_.size), patience_.joining);
  find_sharers();
}

/// A launcher may have bound each process to CPUs of its own, or all to the same.
void JoinedWorld::find_sharers() {
  const std::string own = affinity_mask();
  std::vector<std::string> masks;
  for (int i = 0; i < place_.size; ++i) {
    const std::string cpus = in_store([&] { return store_->get_to_str(key("cpus", i)); });
    if (cpus.substr(own.size()) == own_host()) masks.push_back(cpus.substr(0, own.size()));
  }
  sharers_ = std::min<std::int64_t>(sharers_of_cpus(own, masks, usable_cpus()), place_.local_size);
}

std::int64_t JoinedWorld::threads(std::int64_t asked) const {
  const bool is_said = asked > 0 || std::getenv("OMP_NUM_THREADS") != nullptr;
  return is_said ? asked : std::max<std::int64_t>(usable_cpus() / sharers_, 1);
}

template <class Work>
auto JoinedWorld::in_store(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& error) {
    lose_store(message_of(error));
  }
}

/// Runs a collective operation on tensors; connects the processes first if they are not connected yet. After
/// `end_groups` the others do not come.
void JoinedWorld::in_group(const std::function<void()>& work) {
  if (has_ended_) throw ProcessLost("the exchange with the other processes has ended", false);
  if (!group_) gather("connect");
  const auto begin = first_sum_.value_or(Clock::now());
  try {
    if (!group_) {
      const WithoutWarnings quiet;
      group_ = connect(c10::make_intrusive<c10d::PrefixStore>("group", store_), place_.rank, place_.size,
                       own_address_towards(place_.address, place_.port), patience_.working);
    }
    work();
  } catch (const std::exception& error) {
    lose(message_of(error), Clock::now() - begin >= patience_.working);
  }
}

/// Waits until all the keys exist.
void JoinedWorld::await(const std::vector<std::string>& keys, std::optional<std::chrono::seconds> limit) {
  const auto begin = Clock::now();
  auto pause = 1ms;
  while (!in_store([&] { return store_->check(keys); })) {
    if (in_store([&] { return store_->check({kFailure}); })) {
      throw ProcessLost(in_store([&] { return store_->get_to_str(kFailure); }), true);
    }
    if (names_.empty() && is_cancelled_()) throw ProcessLost("stopped before all processes of the run had come", false);
    if (limit && Clock::now() - begin > *limit) {
      std::vector<std::string> missing;
      for (int i = 0; i < place_.size; ++i) {
        const auto is_of = [&](const std::string& k) { return k.ends_with(text('/', i)) && !store_->check({k}); };
        if (in_store([&] { return std::any_of(keys.begin(), keys.end(), is_of); })) missing.push_back(name(i));
      }
      throw ProcessLost(text("of the ", place_.size, " processes of the run, ", join(missing, ", "),
                             missing.size() == 1 ? " has" : " have", " not come within ", limit->count(), " s"),
                        false);
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(50));
  }
}

/// Waits for the keys; their values.
std::vector<std::string> JoinedWorld::values_of(const std::vector<std::string>& keys, std::chrono::seconds limit) {
  await(keys, limit);
  std::vector<std::string> values(keys.size());
  std::transform(keys.begin(), keys.end(), values.begin(),
                 [&](const std::string& of_rank) { return in_store([&] { return store_->get_to_str(of_rank); }); });
  return values;
}

std::vector<std::int64_t> JoinedWorld::pulses() {
  std::vector<std::int64_t> result(static_cast<std::size_t>(place_.size));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = store_->add(key("pulse", static_cast<int>(i)), 0);
  return result;
}

/// Throws if another process has failed, or has been silent for too long.
void JoinedWorld::require_pulses() {
  if (store_->check({kFailure})) throw Error("another process has failed");
  const auto now = Clock::now();
  const std::vector<std::int64_t> counts = pulses();
  last_pulses_.resize(counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    LastPulse& last = last_pulses_[i];
    if (last.count != counts[i]) last = {counts[i], now};
    if (now - last.seen > kSilence) throw Error(text("nothing is heard of ", name(static_cast<int>(i))));
  }
}

/// Ends the exchange of tensors, which the others notice. What is queued on the device is given some time, since its
/// results are undefined once the group has ended.
void JoinedWorld::end_groups() {
  has_ended_ = true;
  group_.reset();
  if (device_group_) is_broken_off_ = !device_group_->comes_to_rest(kSilence);
  device_group_.reset();
}

/// Finds out and reports which processes are gone, after communication has failed.
void JoinedWorld::lose(const std::string& reason, bool is_late) {
  end_groups();
  std::vector<std::string> silent;
  std::vector<std::string> late;
  in_store([&] {
    store_->set(key("lost", place_.rank), bytes("x"));
    const std::vector<std::int64_t> before = pulses();
    for (const auto end = Clock::now() + kSilence; Clock::now() < end; std::this_thread::sleep_for(50ms)) {
      if (store_->check({kFailure})) return;
    }
    const std::vector<std::int64_t> now = pulses();
    for (int i = 0; i < place_.size; ++i) {
      const auto index = static_cast<std::size_t>(i);
      if (now[index] == before[index]) {
        silent.push_back(name(i));
        gone_.insert(i);
      }
      if (!store_->check({key("lost", i)})) late.push_back(name(i));
    }
  });
  if (in_store([&] { return store_->check({kFailure}); })) {
    throw ProcessLost(in_store([&] { return store_->get_to_str(kFailure); }), true);
  }
  if (!silent.empty()) {
    throw ProcessLost(text(join(silent, ", "), silent.size() == 1 ? " is" : " are",
                           " gone without a message: killed (out of memory?), or its machine or the network is down"),
                      false);
  }
  if (is_late && !late.empty()) {
    throw ProcessLost(text(join(late, ", "), late.size() == 1 ? " has" : " have", " not done the step's part within ",
                           patience_.working.count(), " s (CASDM_WAIT_SECONDS)"),
                      false);
  }
  throw ProcessLost(text("the processes of the run have lost contact: ", reason), false);
}

void JoinedWorld::lose_store(const std::string& reason) {
  end_groups();
  if (place_.has_server) throw ProcessLost(text("the launcher's key-value store does not answer: ", reason), false);
  throw ProcessLost(text(name(0), " is gone: it does not answer at ", quoted(place_.address), " port ", place_.port,
                         " (", reason, ")"),
                    false);
}

std::string JoinedWorld::take_from_first(const std::string& words) {
  const std::string own = key(text("message-", ++exchanges_), 0);
  if (is_first()) {
    in_store([&] { store_->set(own, bytes(words)); });
    return words;
  }
  await({own}, std::nullopt);
  return in_store([&] { return store_->get_to_str(own); });
}

std::vector<std::string> JoinedWorld::gather(const std::string& words) {
  const std::string purpose = text("message-", ++exchanges_);
  in_store([&] { store_->set(key(purpose, place_.rank), bytes(words)); });
  return values_of(keys(purpose, place_.size), patience_.working);
}

void JoinedWorld::on_first(const std::function<void()>& work, const Help& help) {
  if (is_first()) work();
  for (std::string request; (request = take_from_first(kDone)) != kDone;) help(request);
}

bool JoinedWorld::claims(const std::string& problem) {
  try {
    if (store_->add(kClaims, 1) > 1) return false;
    store_->set(kFailure, bytes(problem));
    return true;
  } catch (const std::exception&) {
    return speaks_alone(place_);
  }
}

void JoinedWorld::leave(bool has_failed) {
  end_groups();
  try {
    store_->set(key("left", place_.rank), bytes("x"));
    if (place_.rank != 0 || place_.has_server) return;
    std::vector<std::string> all;
    for (int i = 0; i < place_.size; ++i) {
      if (!gone_.contains(i)) all.push_back(key("left", i));
    }
    const auto end = Clock::now() + (has_failed ? 2 * kSilence : 60s);
    while (Clock::now() < end && !store_->check(all)) std::this_thread::sleep_for(20ms);
  } catch (const std::exception&) {  // nobody to wait for
  }
}

}  // namespace casdm
