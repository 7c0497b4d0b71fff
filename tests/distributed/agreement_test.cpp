#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "distributed/processes.h"
#include "framework/distributed/same_experiment.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

using Change = std::function<std::string(std::string words)>;

/// This process as rank 0, beside others that say what it says, each with a change.
class Beside : public World {
 public:
  explicit Beside(std::vector<Change> others) : others_(std::move(others)) {}
  int size() const override { return static_cast<int>(others_.size()) + 1; }
  std::string whose(int rank) const override { return text(", of rank ", rank, " on node7"); }
  using World::gather;
  std::vector<std::string> gather(const std::string& words) override {
    std::vector<std::string> result = {words};
    for (const Change& change : others_) result.push_back(change(words));
    return result;
  }

 private:
  std::vector<Change> others_;
};

std::string same(std::string words) { return words; }

Change with(const std::string& part, const std::string& other) {
  return [=](std::string words) {
    const std::size_t at = words.find(part);
    REQUIRE_MESSAGE(at != std::string::npos, words);
    return words.replace(at, part.size(), other);
  };
}

/// The message of the refusal; empty: there was none.
std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const WorldConfigError& error) {
    return error.what();
  }
  return "";
}

/// Changes one byte of the GNU build id of a library, as another compiler would.
void change_build_id(const fs::path& library) {
  std::string bytes = read_file(library);
  const std::string note("\x14\0\0\0\x03\0\0\0GNU\0", 12);  // 20 bytes, NT_GNU_BUILD_ID, "GNU"
  const std::size_t at = bytes.find(note);
  REQUIRE(at != std::string::npos);
  bytes[at + note.size()] ^= 1;
  write_file(library, bytes);
}

}  // namespace

TEST_CASE("a process of another version of casdm or LibTorch is named, with both versions") {
  const Value experiment = from_json(R"({"train": {"batch_size": 8}})");
  const auto refused = [&](const Change& other) {
    Beside world({same, other});
    return refusal([&] { require_same(world, experiment); });
  };
  CHECK(refused(same).empty());
  for (const std::string key : {"casdm", "libtorch"}) {
    const std::string message = refused(with('"' + key + "\":\"", '"' + key + "\":\"9."));
    CHECK_MESSAGE(contains(message, "the experiment, of rank 2 on node7, differs from that of the other processes"),
                  message);
    CHECK_MESSAGE(contains(message, key + ": "), message);
    CHECK_MESSAGE(contains(message, " -> 9."), message);
    CHECK_MESSAGE(!contains(message, "rank 1"), message);
  }
}

TEST_CASE("a process with another build of a plugin is named before anything is written, and all end") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nposition = 1000\n");
  const fs::path other = folder.path() / "metric_faulty.so";
  fs::copy(CASDM_TEST_PLUGIN_DIR "/metric_faulty.so", other);
  change_build_id(other);
  const std::string common = "small.toml --set train.batch_size=9 --plugin '";
  const std::string usual = common + CASDM_TEST_PLUGIN_DIR "/metric_faulty.so'";
  Processes run(folder.path(), {usual, usual, common + other.string() + "'"}, environments(3));
  run.wait();
  for (int rank = 0; rank < 3; ++rank) CHECK_MESSAGE(run.status(rank) > 0, run.output());
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "the experiment, of rank 2 on "), run.output());
  CHECK_MESSAGE(contains(run.output(), "plugins: "), run.output());
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("two processes of one machine do not share a device, whatever they call it") {
  const c10::Device first(c10::kCUDA, 0);
  const auto refused = [&](const std::vector<Change>& others, c10::Device device) {
    Beside world(others);
    return refusal([&] { require_own_device(world, device, "uuid-a"); });
  };
  const std::string message = refused({with("uuid-a", "uuid-b"), same}, first);
  CHECK_MESSAGE(contains(message, "run.device: rank 0 and rank 2 compute on the same device of "), message);
  // CUDA_VISIBLE_DEVICES shows each its own, and both call it cuda:0.
  CHECK(refused({with("uuid-a", "uuid-b")}, first).empty());
  CHECK(refused({[](const std::string& words) { return "node8" + words.substr(words.find('\n')); }}, first).empty());
  CHECK(refused({same, same}, c10::Device(c10::kCPU)).empty());
}
