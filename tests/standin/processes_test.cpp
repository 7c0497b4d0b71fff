#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <thread>

#include "casdm/text.h"
#include "distributed/runs.h"
#include "framework/support/sha256.h"
#include "framework/training/checkpoint.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kCuda = " --set run.device=cuda";

void check_same_checkpoints(const fs::path& run, const fs::path& other) {
  const fs::path last = "checkpoints/000000000048";
  for (const auto& file : fs::directory_iterator(run / last)) {
    if (file.path().extension() != ".safetensors") continue;
    const fs::path end = last / file.path().filename();
    CHECK_MESSAGE(sha256_of_file(run / end) == sha256_of_file(other / end), (other / end));
  }
}

/// `casdm sample` in several processes; the SHA-256 of the images.
std::string drawn(const fs::path& folder, int processes, const std::string& run) {
  const std::string out = text("drawn-by-", processes);
  const std::string arguments = text(run, " --num 5 --batch 2 --device cuda --out ", out, kPlugins);
  Processes drawing(folder, {arguments}, environments(processes), {}, "sample");
  drawing.wait();
  for (int rank = 0; rank < processes; ++rank) REQUIRE_MESSAGE(drawing.status(rank) == 0, drawing.output());
  return sha256_of_file(folder / out / "samples.npz");
}

/// A process's use of its device: waits, bytes of copies that were waited for, launches, and those of them that were
/// queued behind what was waited for; exchanges that were queued during a backward pass on a stream of their own.
struct Use {
  double waits = 0, bytes = 0, launches = 0, queued = 0, beside = 0;
  std::string described;
};

/// Trains `steps` steps in two processes; the use of the device in each.
std::vector<Use> used_by_two(const fs::path& folder, int steps, const std::string& settings, const Environment& more) {
  std::vector<Environment> each = environments(2, more);
  for (int rank = 0; rank < 2; ++rank) {
    each[static_cast<std::size_t>(rank)]["CASDM_STANDIN_USE"] = (folder / text("use.", rank)).string();
  }
  const std::string arguments = text("small.toml --set run.name=", steps, "-steps --set train.total_images=", 8 * steps,
                                     " --set log.every_images=1000 --set checkpoint.every_images=1000", settings);
  Processes training(folder, {arguments + kPlugins + kCuda}, each);
  training.wait();
  std::vector<Use> result;
  for (int rank = 0; rank < 2; ++rank) {
    REQUIRE_MESSAGE(training.status(rank) == 0, training.output());
    Use use;
    std::ifstream file(folder / text("use.", rank));
    file >> use.waits >> use.bytes >> use.launches >> use.queued >> use.beside;
    file.ignore();
    std::getline(file, use.described);
    result.push_back(use);
  }
  return result;
}

/// What a step of two processes uses: of both the larger number, or the smaller of those that are queued.
struct StepUse : Use {
  double weights = 0;  ///< bytes
};

StepUse step_of_two(const std::string& settings, const Environment& more = {}) {
  constexpr int kFew = 2, kMore = 6;
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"l1\"\n");
  const std::vector<Use> before = used_by_two(folder.path(), kFew, settings, more),
                         after = used_by_two(folder.path(), kMore, settings, more);
  const auto in_step = [&](std::size_t rank, double Use::*count) {
    return (after[rank].*count - before[rank].*count) / (kMore - kFew);
  };
  StepUse step;
  for (double Use::*count : {&Use::waits, &Use::bytes, &Use::launches}) {
    step.*count = std::max(in_step(0, count), in_step(1, count));
  }
  for (double Use::*count : {&Use::queued, &Use::beside}) step.*count = std::min(in_step(0, count), in_step(1, count));
  step.described = text(after[0].described, "; ", after[1].described);
  const Checkpoint end = Checkpoint::open(folder.path() / "runs" / text(kMore, "-steps"));
  for (const auto& [name, tensor] : end.tensors("weights")) step.weights += static_cast<double>(tensor.nbytes());
  const auto bytes = static_cast<std::int64_t>(step.bytes), of_weights = static_cast<std::int64_t>(step.weights);
  MESSAGE("a step of two processes launches " << step.launches << " operators, waits " << step.waits << " times with "
                                              << step.queued << " of them queued, and copies " << bytes << " bytes ("
                                              << of_weights << " of weights)"
                                              << std::string(more.empty() ? "" : ", by NCCL") << settings);
  return step;
}

const std::string kShard = " --set train.shard_optimizer=true";

/// For a device of NCCL, whose place a library of the tests takes.
Environment nccl() {
  const char* const paths = std::getenv("LD_LIBRARY_PATH");
  return {{"CASDM_STANDIN_NCCL", "1"},
          {"LD_LIBRARY_PATH", text(CASDM_FAKE_NCCL_DIR, paths == nullptr ? "" : ":", paths == nullptr ? "" : paths)}};
}

constexpr const char* kByNccl = "exchanged by NCCL 2.28.9";

/// The message with which a training in two processes ends, without the numbers of its processes.
std::string failure(const fs::path& folder, const std::string& arguments, const Environment& more = {}) {
  Processes run(folder, {arguments + kPlugins + kCuda}, environments(2, more));
  run.wait();
  CHECK(run.status(0) > 0);
  CHECK(run.status(1) > 0);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  return std::regex_replace(run.messages()[0], std::regex("process [0-9]+"), "process");
}

/// The checkpoints of a run.
std::set<std::string> checkpoints(const fs::path& run) {
  std::set<std::string> names;
  if (!fs::exists(run / "checkpoints")) return names;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) names.insert(entry.path().filename());
  return names;
}

}  // namespace

TEST_CASE("a step of two processes without NCCL copies gradients to the CPU's memory and back once") {
  const StepUse step = step_of_two("");
  // For each module its gradients to the CPU and back, the norms to the CPU and back, and the record.
  CHECK_MESSAGE(step.waits <= 2 * 2 + 2 + 1, step.described);
  // Each parameter begins at a multiple of 16 elements, and the record has a few numbers of each image.
  CHECK(step.bytes > 2 * step.weights);
  CHECK(step.bytes < 2 * step.weights * 11 / 10 + 1000);
}

TEST_CASE("a sharded step of two processes without NCCL copies the weights as well, once") {
  const StepUse step = step_of_two(kShard);
  CHECK_MESSAGE(step.waits <= 2 * 2 + 2 + 1 + 2 * 2, step.described);
  CHECK(step.bytes > 4 * step.weights);
  CHECK(step.bytes < 4 * step.weights * 11 / 10 + 1000);
}

TEST_CASE(
    "with NCCL the host waits only once in a step of two processes, after the next one is queued, sharded or not") {
  for (const std::string& settings : {std::string(), kShard}) {
    const StepUse step = step_of_two(settings, nccl());
    CHECK_MESSAGE(step.waits == 1, step.described);
    CHECK(step.bytes == 0);
    CHECK(step.queued > 0.9 * step.launches);
    CHECK(step.beside == 2);  // the gradients of each module
  }
  // What the host decides by the numbers of a step is decided before its update.
  const StepUse decided = step_of_two(" --set 'timesteps={type=\"loss_second_moment\"}'", nccl());
  CHECK_MESSAGE(decided.waits == 1, decided.described);
  CHECK(decided.queued < 0.01 * decided.launches);
}

TEST_CASE("with NCCL processes train to the bit as without, whole or sharded, in one go or resumed") {
  const TemporaryFolder folder;
  write_experiment(folder.path(),
                   "[[metrics]]\ntype = \"relative_l1\"\n[[metrics]]\ntype = \"l1\"\n[ema]\ndecay = 0.9\n");
  const auto run = [&](const char* name) { return folder.path() / name / "run"; };
  const std::string all =
      "small.toml --set log.sample_count=3 --set log.grad_norms_every_images=24" + kPlugins + " --set run.directory=";
  train(folder.path(), 1, all + "cpu");
  train(folder.path(), 2, all + "without" + kCuda);
  const std::string output = train(folder.path(), 2, all + "with" + kCuda, nccl());
  CHECK_MESSAGE(contains(output, kByNccl), output);
  train(folder.path(), 2, all + "shared" + kCuda + kShard, nccl());
  train(folder.path(), 2, all + "resumed --set train.total_images=24" + kCuda + kShard, nccl());
  train(folder.path(), 2, "--resume resumed/run --set train.total_images=48" + kPlugins, nccl());
  check_same(run("cpu"), run("with"), 1e-4);
  for (const char* name : {"with", "shared", "resumed"}) {
    check_same(run("without"), run(name), 0);
    check_same_checkpoints(run("without"), run(name));
    CHECK(sha256_of_file(run("without") / "samples/48.png") == sha256_of_file(run(name) / "samples/48.png"));
  }
}

TEST_CASE("with NCCL a process without a parameter of its own takes the steps of a whole optimizer, to the bit") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "");
  const std::string network = "={type=\"conditioned\", width=4}'";  // of two parameters
  const std::string all = "small.toml --set 'data={type=\"pairs\", image_size=16}' --set 'head.theta" + network +
                          " --set 'head.phi" + network + " --set train.batch_size=6" + kPlugins + kCuda +
                          " --set run.directory=";
  train(folder.path(), 3, all + "whole", nccl());
  const std::string output = train(folder.path(), 3, all + "shared" + kShard, nccl());
  CHECK_MESSAGE(contains(output, kByNccl), output);
  check_same_checkpoints(folder.path() / "whole/run", folder.path() / "shared/run");
}

TEST_CASE("with NCCL a run with a NaN in any process ends as without, at whichever step it is") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  // Images 4 to 7 of each batch of 8 are those of rank 1.
  struct Fault {
    const char* fault;
    int position;
    double weight;
    std::string settings;
  };
  int number = 0;
  for (const Fault& fault : {Fault{"nan", 13, 1, ""}, Fault{"nan", 30, 0, ""}, Fault{"nan", 17, 1, kShard},
                             Fault{"nan_gradient", 21, 1, ""}, Fault{"nan", 45, 1, kShard}}) {
    CAPTURE(fault.position);
    const std::string arguments =
        text(R"(small.toml --set log.every_images=16 --set 'metrics=[{type="faulty",fault=")", fault.fault,
             R"(",position=)", fault.position, ",weight=", fault.weight, "}]'", fault.settings, " --set run.name=");
    const std::string with = text("with", ++number), without = text("without", number);
    const std::string expected = failure(folder.path(), arguments + without);
    const std::string found = failure(folder.path(), arguments + with, nccl());
    CHECK(std::regex_replace(found, std::regex(text("runs/", with)), text("runs/", without)) == expected);
    const fs::path run = folder.path() / "runs" / with, other = folder.path() / "runs" / without;
    CHECK(checkpoints(run) == checkpoints(other));
    REQUIRE(fs::exists(run / "metrics.jsonl") == fs::exists(other / "metrics.jsonl"));
    if (!fs::exists(run / "metrics.jsonl")) continue;
    const auto lines = log_of(run), others = log_of(other);
    REQUIRE(lines.size() == others.size());
    for (const auto& line : others) CHECK(largest_difference(line.second, lines.at(line.first)) == 0);
  }
}

TEST_CASE("with NCCL the state before the step in which a process fails is saved, as without") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nfault = \"throw\"\nposition = 30\n");  // rank 1
  const std::string common =
      "small.toml --set checkpoint.every_images=1000 --set log.every_images=1000 --set run.name=";
  const std::string expected = failure(folder.path(), common + "without");
  CHECK(contains(expected, "the metric gave up"));
  CHECK(failure(folder.path(), common + "with", nccl()) == expected);
  const fs::path runs = folder.path() / "runs", state = "checkpoints/000000000024/weights.safetensors";
  REQUIRE(checkpoints(runs / "with") == std::set<std::string>{"000000000024"});
  CHECK(sha256_of_file(runs / "with" / state) == sha256_of_file(runs / "without" / state));
}

TEST_CASE("with NCCL the state before the step in which a process is killed between exchanges is saved") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nfault = \"kill\"\nposition = 30\n");  // rank 1
  Processes run(folder.path(),
                {"small.toml --set checkpoint.every_images=16 --set log.every_images=1000" + kPlugins + kCuda},
                environments(2, nccl()));
  run.wait(30);
  CHECK(run.status(1) == -1);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.output());
  CHECK_MESSAGE(contains(run.output(), "the state at 24 images is saved"), run.output());
  CHECK(checkpoints(folder.path() / "runs/run").contains("000000000024"));
}

TEST_CASE("with NCCL a step that is not finite is reported although the first process is killed in the next one") {
  const TemporaryFolder folder;
  write_experiment(folder.path(),
                   "[[metrics]]\ntype = \"faulty\"\nposition = 21\n"  // third step, rank 1
                   "[[metrics]]\nname = \"deadly\"\ntype = \"faulty\"\nfault = \"kill\"\nposition = 26\n");  // rank 0
  Processes run(folder.path(),
                {"small.toml --set checkpoint.every_images=1000 --set log.every_images=1000" + kPlugins + kCuda},
                environments(2, nccl()));
  run.wait(30);
  CHECK(run.status(0) == -1);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "step 3: loss term "), run.output());
}

TEST_CASE("with NCCL a process that is killed in an exchange is noticed, and what follows from that is not saved") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  // In each step the gradients of two networks and the rows of two ranks. Rank 1 is killed in the third step, whose
  // numbers would be read in the fourth one, or in the fourth, whose numbers are read at once for a checkpoint.
  for (const int step : {3, 4}) {
    const std::string name = text("killed-", step);
    auto each = environments(2, nccl());
    each[1]["FAKE_NCCL_DIES_IN"] = std::to_string(4 * (step - 1) + 3);
    const std::string settings = " --set checkpoint.every_images=16 --set log.every_images=1000 --set run.name=";
    Processes run(folder.path(), {text("small.toml", kCuda, settings, name)}, each);
    run.wait();
    REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
    CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.output());
    CHECK_MESSAGE(contains(run.output(), text("the state at ", 8 * step, " images is lost")), run.output());
    CHECK(checkpoints(folder.path() / "runs" / name) == std::set<std::string>{"000000000016"});
  }
}

TEST_CASE("with NCCL the state before the step in whose backward pass a process is killed in an exchange is saved") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  for (const int of_step : {1, 2}) {
    const std::string name = text("killed-", of_step);
    auto each = environments(2, nccl());
    each[1]["FAKE_NCCL_DIES_IN"] = std::to_string(4 * 3 + of_step);  // of the fourth step
    const std::string settings = " --set checkpoint.every_images=16 --set log.every_images=1000 --set run.name=";
    Processes run(folder.path(), {text("small.toml", kCuda, settings, name)}, each);
    run.wait();
    REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
    CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.output());
    CHECK_MESSAGE(contains(run.output(), "the state at 24 images is saved"), run.output());
    CHECK(checkpoints(folder.path() / "runs" / name) == std::set<std::string>{"000000000016", "000000000024"});
  }
}

TEST_CASE("with NCCL a process that hangs is named when the time for a step is over") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  Environment more = nccl();
  more["CASDM_WAIT_SECONDS"] = "3";
  Processes run(folder.path(), {"small.toml --set train.total_images=1M --set checkpoint.every_images=1M" + kCuda},
                environments(2, more));
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  run.signal(1, SIGSTOP);
  CHECK_MESSAGE(run.wait_for(0, "casdm: "), run.output());
  run.signal(1, SIGKILL);
  run.wait();
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.output());
}

TEST_CASE("with NCCL what is saved after a process was killed is the state of a step") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs";
  const std::string settings = " --set checkpoint.every_images=40 --set log.every_images=1M";
  Processes run(folder.path(), {"small.toml --set train.total_images=1M" + settings + kCuda}, environments(2, nccl()));
  for (int i = 0; i < 600 && !checkpoints(runs / "run").contains("000000000040"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  run.signal(1, SIGKILL);
  run.wait();
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.output());
  const std::set<std::string> saved = checkpoints(runs / "run");
  REQUIRE(!saved.empty());
  const std::string last = *saved.rbegin();
  train(folder.path(), 2, "small.toml --set run.name=whole --set train.total_images=" + last + kCuda);
  for (const char* file : {"weights.safetensors", "optimizer.safetensors"}) {
    const fs::path end = fs::path("checkpoints") / last / file;
    CHECK_MESSAGE(sha256_of_file(runs / "run" / end) == sha256_of_file(runs / "whole" / end), run.output());
  }
}

TEST_CASE("processes with a CUDA device each train the run of one, with a whole or divided optimizer, and draw") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const auto run = [&](const char* name) { return folder.path() / name / "run"; };
  const std::string common = "small.toml --set log.sample_count=3" + kPlugins + kCuda + " --set run.directory=";
  train(folder.path(), 1, common + "one");
  const std::string output = train(folder.path(), 2, common + "two");
  train(folder.path(), 2, common + "shared" + kShard);
  CHECK_MESSAGE(output.find("; sums and weights are exchanged through the CPU's memory") != std::string::npos, output);
  check_same(run("one"), run("two"), 1e-4);
  check_same(run("two"), run("shared"), 0);
  check_same_checkpoints(run("two"), run("shared"));
  CHECK(sha256_of_file(run("two") / "samples/48.png") == sha256_of_file(run("shared") / "samples/48.png"));
  CHECK(drawn(folder.path(), 1, "one/run") == drawn(folder.path(), 2, "one/run"));
}

TEST_CASE("a run on CUDA that was stopped with two processes continues with four, then with one") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const fs::path runs = folder.path() / "runs";
  const auto until = [](int images) { return text(" --set train.total_images=", images) + kPlugins; };
  train(folder.path(), 1, "small.toml --set run.name=whole" + until(48) + kCuda);
  train(folder.path(), 2, "small.toml" + until(16) + kCuda);
  train(folder.path(), 4, "--resume runs/run" + until(32));
  train(folder.path(), 1, "--resume runs/run" + until(48));
  check_same(runs / "whole", runs / "run", 1e-4);
}

TEST_CASE("plugins doctor warns of a driver that offers no device") {
  const TemporaryFolder folder;
  const auto said = [&](const Environment& environment) {
    Processes doctor(folder.path(), {""}, {environment}, {}, "plugins doctor");
    doctor.wait();
    return doctor.output();
  };
  CHECK_MESSAGE(contains(said({}), "device: cuda:0, stand-in"), said({}));
  const std::string none = said({{"CASDM_STANDIN_DEVICES", "0"}});
  const std::regex warning("warning +device: cpu, although there is an NVIDIA driver: the driver offers no device\\n");
  CHECK_MESSAGE(std::regex_search(none, warning), none);
}
