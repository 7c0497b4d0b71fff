#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <string>
#include <thread>

#include "casdm/text.h"
#include "distributed/processes.h"
#include "distributed/runs.h"
#include "framework/support/sanitizers.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kFaulty = " --plugin '" CASDM_TEST_PLUGIN_DIR "/metric_faulty.so'";
const std::string kEndless = "small.toml --set train.total_images=1M --set checkpoint.every_images=1M";

/// All processes must have ended with a status other than 0, and one must have said why.
void check_failed(const Processes& run, int size, const std::vector<std::string>& words) {
  for (int rank = 0; rank < size; ++rank) CHECK_MESSAGE(run.status(rank) != 0, run.output());
  const std::vector<std::string> messages = run.messages();
  REQUIRE_MESSAGE(messages.size() == 1, run.output());
  for (const std::string& word : words) CHECK_MESSAGE(contains(messages[0], word), messages[0]);
}

/// The number of checkpoints of a run.
std::ptrdiff_t checkpoints(const fs::path& run) {
  return std::distance(fs::directory_iterator(run / "checkpoints"), fs::directory_iterator());
}

/// Words before a program whose calls on `runs` are counted, or fail, by `plan` (tests/faults/plan.h).
std::string with_faults(const fs::path& runs, const std::string& plan) {
  return text("env LD_PRELOAD='" CASDM_FAULTS_LIBRARY "' CASDM_FAULTS='under=", runs.string(), ' ', plan, "' ");
}

/// The number of the first call, in a report of with_faults, on a path with these words; 0: there is none.
long first_call_on(const fs::path& report, const std::string& words) {
  std::istringstream lines(read_file(report));
  for (std::string line; std::getline(lines, line);) {
    if (contains(line, words)) return std::stol(line);
  }
  return 0;
}

std::vector<Environment> with(std::vector<Environment> environments, const std::string& name,
                              const std::string& value) {
  for (Environment& environment : environments) environment[name] = value;
  return environments;
}

}  // namespace

TEST_CASE("when one process is killed, the others save the state, say which one is gone, and end") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  Processes run(folder.path(), {kEndless}, environments(4));
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  run.signal(2, SIGKILL);
  run.wait();
  CHECK(run.status(2) == -1);
  check_failed(run, 4, {"rank 2 on ", "(process ", "is gone without a message"});
  CHECK(contains(run.output(), "images is saved"));
  CHECK(checkpoints(folder.path() / "runs/run") == 1);
}

TEST_CASE("when the first process is killed, the others say so and end") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  Processes run(folder.path(), {kEndless}, environments(2));
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  run.signal(0, SIGKILL);
  run.wait();
  check_failed(run, 2, {"rank 0 on ", "is gone"});
}

TEST_CASE("a process that hangs is named when the time for a step is over") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  Processes run(folder.path(), {kEndless}, with(environments(2), "CASDM_WAIT_SECONDS", "3"));
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  run.signal(1, SIGSTOP);
  CHECK_MESSAGE(run.wait_for(0, "casdm: "), run.output());
  run.signal(1, SIGKILL);
  run.wait();
  check_failed(run, 2, {"rank 1 on "});
}

TEST_CASE("a process that is slow for a while is waited for, and changes no bit") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const std::string name = "small.toml --set train.total_images=800 --set checkpoint.every_images=800 --set run.name=";
  train(folder.path(), 2, name + "quick");
  Processes run(folder.path(), {name + "slow"}, environments(2));
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  run.signal(1, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(6));  // longer than a live process is silent
  CHECK_FALSE(fs::exists(folder.path() / "runs/slow/checkpoints/000000000800"));
  run.signal(1, SIGCONT);
  run.wait();
  CHECK_MESSAGE(run.status(0) + run.status(1) == 0, run.output());
  const fs::path weights = "checkpoints/000000000800/weights.safetensors";
  CHECK(read_file(folder.path() / "runs/slow" / weights) == read_file(folder.path() / "runs/quick" / weights));
}

TEST_CASE("a signal to one process stops all of them after the step, with a checkpoint") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const std::string listening = "env --default-signal=HUP ";  // a test under nohup would ignore it
  const std::pair<int, int> signals[] = {{SIGTERM, 1}, {SIGTERM, 0}, {SIGINT, 1},  {SIGINT, 0},
                                         {SIGHUP, 1},  {SIGHUP, 0},  {SIGUSR1, 1}, {SIGUSR1, 0}};
  for (const auto& [signal, rank] : signals) {
    const std::string name = text("run", signal, '-', rank);
    CAPTURE(name);
    Processes run(folder.path(), {kEndless + " --set run.name=" + name}, environments(2), {listening, listening});
    REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
    run.signal(rank, signal);
    run.wait();
    CHECK_MESSAGE(run.status(0) == 0, run.output());
    CHECK_MESSAGE(run.status(1) == 0, run.output());
    CHECK_MESSAGE(contains(run.output(), "the state is saved. Continue with"), run.output());
    CHECK(checkpoints(folder.path() / "runs" / name) == 1);
  }
}

TEST_CASE("when the disk of the first process is full, all end, one says so, and the run goes on from what was saved") {
  if (kIsSanitized) return;
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs", calls = folder.path() / "calls", last = "000000000048";
  Processes whole(folder.path(), {"small.toml"}, environments(2), {with_faults(runs, "report=" + calls.string()), ""});
  whole.wait();
  REQUIRE_MESSAGE(whole.status(0) == 0, whole.output());
  fs::rename(runs / "run", folder.path() / "whole");
  // A checkpoint gets its name after more than a hundred writes.
  const long call = first_call_on(calls, "checkpoints/" + last.string()) - 20;
  REQUIRE(call > 0);
  Processes run(folder.path(), {"small.toml"}, environments(2),
                {with_faults(runs, text("fail=ENOSPC at=", call, " last=1000000")), ""});
  run.wait();
  check_failed(run, 2, {"rank 0 on ", "could not be saved", "No space left on device"});
  CHECK(fs::exists(runs / "run/checkpoints/000000000024/state.json"));
  CHECK_FALSE(fs::exists(runs / "run/checkpoints" / last));
  Processes resumed(folder.path(), {"--resume runs/run"}, environments(2));
  resumed.wait();
  REQUIRE_MESSAGE(resumed.status(0) + resumed.status(1) == 0, resumed.output());
  const fs::path weights = fs::path("checkpoints") / last / "weights.safetensors";
  CHECK(read_file(runs / "run" / weights) == read_file(folder.path() / "whole" / weights));
}

TEST_CASE("a checkpoint that has its name, but whose folder the disk does not confirm, is not said to be lost") {
  if (kIsSanitized) return;
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs", calls = folder.path() / "calls", last = "checkpoints/000000000048";
  Processes counted(folder.path(), {"small.toml"}, environments(1), {with_faults(runs, "report=" + calls.string())});
  counted.wait();
  fs::rename(runs, folder.path() / "counted");  // all of it, so that the second run makes the same calls
  const long named = first_call_on(calls, "rename " + (runs / "run" / last).string());
  REQUIRE(named > 0);
  Processes run(folder.path(), {"small.toml"}, environments(1), {with_faults(runs, text("fail=EIO at=", named + 1))});
  run.wait();
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "000000000048 is complete, but a power failure may undo it: "),
                run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "checkpoints cannot be synced: Input/output error"), run.output());
  CHECK_MESSAGE(!contains(run.output(), "could not be saved"), run.output());
  const std::string weights = (last / "weights.safetensors").string();
  CHECK(read_file(runs / "run" / weights) == read_file(folder.path() / "counted/run" / weights));
}

TEST_CASE("a loss that is not finite in one process ends all of them, and the message says in which") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nposition = 13\n");  // of the second step, rank 1
  Processes run(folder.path(), {"small.toml" + kFaulty}, environments(2));
  run.wait();
  check_failed(run, 2, {"step 2: loss term 'metric.faulty' is nan", "(image 4 of the batch), of rank 1 on "});
}

TEST_CASE("an exception in one process ends all of them, and the message says in which") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nfault = \"throw\"\nposition = 13\n");
  Processes run(folder.path(), {"small.toml" + kFaulty}, environments(2));
  run.wait();
  check_failed(run, 2, {"rank 1 on ", "the metric gave up"});
  CHECK(contains(run.output(), "the state at 8 images is saved"));
}

TEST_CASE("processes that do not do the same are detected before anything is written") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  SUBCASE("another command") {
    const std::vector<Environment> all = environments(2);
    Processes training(folder.path(), {"small.toml"}, {all[0]});
    Processes sampling(folder.path(), {"runs/small --num 4 --out s"}, {all[1]}, {}, "sample");
    training.wait();
    sampling.wait();
    const std::string said = training.output() + sampling.output();
    CHECK_MESSAGE(contains(said, " runs `casdm sample`, and rank 0 on "), said);
    CHECK(training.messages().size() + sampling.messages().size() == 1);
    CHECK(std::max(training.status(0), sampling.status(0)) == 2);
  }
  SUBCASE("another experiment") {
    const std::string other = "small.toml --set optimizer.learning_rate=5e-4";
    Processes run(folder.path(), {"small.toml", "small.toml", other}, environments(3));
    run.wait();
    check_failed(run, 3, {"the experiment, of rank 2 on ", "differs from that of the other processes"});
    CHECK_MESSAGE(contains(run.output(), "optimizer.learning_rate: 1e-04 -> 5e-04"), run.output());
  }
  SUBCASE("other data at the same path") {
    for (const char* name : {"one", "two"}) fs::create_directory(folder.path() / name);
    fs::copy(source_dir() / "examples/data/emoji32.zip", folder.path() / "one/images.zip");
    REQUIRE(shell("python3 -c 'import zipfile; a = zipfile.ZipFile(\"one/images.zip\"); "
                  "b = zipfile.ZipFile(\"two/images.zip\", \"w\"); "
                  "[b.writestr(name, a.read(name)) for name in a.namelist()[:-5]]'",
                  folder.path())
                .status == 0);
    const std::string data = " --set 'data={type=\"zip\",path=\"/proc/self/cwd/images.zip\",image_size=16}'";
    const auto in = [&](const char* name) { return text("env -C '", (folder.path() / name).string(), "' "); };
    Processes run(folder.path(), {text("'", (folder.path() / "small.toml").string(), "'", data)}, environments(2),
                  {in("one"), in("two")});
    run.wait();
    check_failed(run, 2, {"what is read, of rank 1 on ", "differs from that of the other processes"});
    CHECK_MESSAGE(contains(run.output(), " images instead of "), run.output());
    CHECK_FALSE(fs::exists(folder.path() / "one/runs/run"));
  }
  SUBCASE("an experiment that one process cannot read") {
    Processes run(folder.path(), {"small.toml", "none.toml"}, environments(2));
    run.wait();
    check_failed(run, 2, {"rank 1 on ", "none.toml"});
  }
  SUBCASE("a batch that cannot be divided equally") {
    Processes run(folder.path(), {"small.toml --set train.batch_size=9"}, environments(2));
    run.wait();
    check_failed(run, 2, {"train.batch_size = 9 images cannot be shared evenly by the 2 processes"});
    CHECK(run.status(0) + run.status(1) == 3);  // 2, for an invalid experiment, in the process that reports it
  }
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("an error found only by the first process ends all of them") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  fs::create_directories(folder.path() / "runs/run/mine");
  Processes run(folder.path(), {"small.toml"}, environments(2));
  run.wait();
  check_failed(run, 2, {"rank 0 on ", "runs/run exists and is not a run folder"});
}

TEST_CASE("a second process of the same rank ends with the reason, and the run continues without it") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  auto started = environments(2);
  started.push_back(started[1]);
  Processes run(folder.path(), {"small.toml"}, started);
  run.wait();
  CHECK_MESSAGE(run.status(0) == 0, run.output());
  CHECK(run.status(1) + run.status(2) == 1);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "there are two processes of rank 1"), run.output());
}

TEST_CASE("a process that joins another run ends with the reason, and the run continues") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  auto started = environments(2);
  started.push_back(started[1]);
  started[2].insert_or_assign("RANK", std::string("3"));
  started[2].insert_or_assign("WORLD_SIZE", std::string("4"));
  Processes run(folder.path(), {"small.toml"}, started);
  run.wait();
  CHECK_MESSAGE(run.status(0) + run.status(1) == 0, run.output());
  CHECK(run.status(2) == 1);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "rank 3 was started as one of 4 processes"), run.output());
}

TEST_CASE("a sweep, which starts its own processes, refuses to run in several, and says so once") {
  const TemporaryFolder folder;
  const std::string launched = "WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 ";
  const Outcome first = shell(launched + "RANK=0 casdm sweep sweep.toml", folder.path());
  CHECK(first.status == 2);
  CHECK_MESSAGE(contains(first.err, "runs as one process, but a launcher has started 2"), first.err);
  CHECK_MESSAGE(contains(first.err, "--processes 2"), first.err);
  const Outcome second = shell(launched + "RANK=1 casdm sweep sweep.toml", folder.path());
  CHECK(second.status == 2);
  CHECK_MESSAGE(second.err.empty(), second.err);
}

TEST_CASE("processes that do not meet say which one is missing, or what was tried") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  SUBCASE("one is not started") {
    auto started = with(environments(3), "CASDM_JOIN_SECONDS", "2");
    started.pop_back();
    Processes run(folder.path(), {"small.toml"}, started);
    run.wait();
    check_failed(run, 2, {"of the 3 processes of the run, rank 2 has not come within 2 s"});
  }
  SUBCASE("they expect different numbers") {
    auto started = environments(2);
    started[1].insert_or_assign("WORLD_SIZE", std::string("3"));
    Processes run(folder.path(), {"small.toml"}, started);
    run.wait();
    check_failed(run, 2, {"rank 1 was started as one of 3 processes, and rank 0 as one of 2"});
  }
  SUBCASE("nobody listens") {
    auto started = with(environments(3), "CASDM_JOIN_SECONDS", "2");
    started.erase(started.begin());
    Processes run(folder.path(), {"small.toml"}, started);
    run.wait();
    check_failed(run, 2,
                 {"this is rank 1 of 3, and rank 0 cannot be reached: nothing answers at \"127.0.0.1\" port ",
                  "Connection refused", "in 2 s"});
  }
  SUBCASE("the first process's machine has no address") {
    auto started = with(with(environments(2), "CASDM_JOIN_SECONDS", "2"), "MASTER_ADDR", "nosuch.invalid");
    started.erase(started.begin());
    Processes run(folder.path(), {"small.toml"}, started);
    run.wait();
    check_failed(run, 1,
                 {"rank 0 cannot be reached: nothing answers at \"nosuch.invalid\" port ",
                  "its name has no address: ", "MASTER_ADDR and MASTER_PORT say where it is"});
  }
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}
