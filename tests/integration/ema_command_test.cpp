#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

void refuses(const fs::path& folder, const std::string& words, const std::vector<std::string>& expected) {
  const Outcome outcome = shell("casdm " + words, folder);
  CHECK_MESSAGE(outcome.status == 2, words << "\n" << outcome.err);
  for (const std::string& part : expected)
    CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, words << "\n" << outcome.err);
}

}  // namespace

TEST_CASE("an average with another width is made after training and sampled from") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), R"([ema]
snapshot_every_images = 8
[[ema.also]]
name = "p05"
sigma_rel = 0.05
[[ema.also]]
name = "p10"
sigma_rel = 0.1
)");
  const Outcome train = shell("casdm train small.toml --set checkpoint.keep_last=1", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const fs::path snapshots = folder.path() / "runs/small/ema";
  CHECK(std::distance(fs::directory_iterator(snapshots), fs::directory_iterator()) == 6);

  const Outcome ema = shell("casdm ema runs/small --sigma-rel 0.08 --out p08.safetensors", folder.path());
  REQUIRE_MESSAGE(ema.status == 0, ema.err);
  CHECK(ema.out == "p08.safetensors\n");
  CHECK_MESSAGE(ema.err.find("sigma_rel 0.08 at 24 images from 6 snapshots") != std::string::npos, ema.err);
  for (const char* weights : {"p08.safetensors", "p05", "p10", "ema", "raw"}) {
    const Outcome sample =
        shell(std::string("casdm sample runs/small --num 2 --overwrite --out s --weights ") + weights, folder.path());
    CHECK_MESSAGE(sample.status == 0, sample.err);
  }
  refuses(folder.path(), "sample runs/small --num 2 --out t --weights p07", {"\"p07\"", "raw, ema, p05, p10"});

  // At an earlier point, and for a network that starts from it.
  const Outcome earlier = shell("casdm ema runs/small --sigma-rel 0.1 --at 16 --out early.safetensors", folder.path());
  CHECK_MESSAGE(earlier.err.find("at 16 images from 4 snapshots") != std::string::npos, earlier.err);
  const Outcome started = shell(
      "casdm train small.toml --set run.name=started --set train.total_images=4 --set log.sample_count=0"
      " --set 'init=[{module=\"theta\", from=\"early.safetensors\"}]'",
      folder.path());
  CHECK_MESSAGE(started.status == 0, started.err);
  // Taken out of it, a network keeps the options that its weights depend on.
  const Outcome imported = shell("casdm import p08.safetensors --strip theta. --out theta.safetensors", folder.path());
  CHECK_MESSAGE(imported.status == 0, imported.err);
  CHECK(imported.out.find("attention_order = \"legacy\"") != std::string::npos);
  refuses(folder.path(), "import p08.safetensors --strip theta. --out other.safetensors --set attention_order=new",
          {"the file records attention_order = \"legacy\", the option says \"new\""});
  const std::string start =
      "train small.toml --dry-run --no-cost --set 'init=[{module=\"theta\", from=\"theta.safetensors\"}]'";
  refuses(folder.path(), start + " --set head.theta.num_heads=2", {"num_heads = 1, head.theta has 2"});
  CHECK(shell("casdm " + start, folder.path()).status == 0);
  // A snapshot has the options of the run that it lies in, also by a link.
  fs::create_symlink("runs/small/ema/000000000016-0.05.safetensors", folder.path() / "linked.safetensors");
  const std::string snapshot_start =
      "train small.toml --dry-run --no-cost --set 'init=[{module=\"theta\", "
      "from=\"linked.safetensors\"}]'";
  refuses(folder.path(), snapshot_start + " --set head.theta.num_heads=2", {"num_heads = 1, head.theta has 2"});
  CHECK(shell("casdm " + snapshot_start, folder.path()).status == 0);
  // It also has them elsewhere.
  fs::remove(folder.path() / "linked.safetensors");
  fs::copy_file(snapshots / "000000000016-0.05.safetensors", folder.path() / "linked.safetensors");
  refuses(folder.path(), snapshot_start + " --set head.theta.num_heads=2", {"num_heads = 1, head.theta has 2"});
  CHECK(shell("casdm " + snapshot_start, folder.path()).status == 0);
  // The weights of another moment are exported with a warning.
  for (const auto& [weights, is_other] : {std::pair("early", true), {"p08", false}}) {
    const Outcome exported = shell(text("casdm export runs/small --module theta --overwrite --out e.safetensors ",
                                        "--weights ", weights, ".safetensors"),
                                   folder.path());
    REQUIRE_MESSAGE(exported.status == 0, exported.err);
    CHECK_MESSAGE(contains(exported.err, "not of this checkpoint: after 16 images instead of 24") == is_other,
                  exported.err);
  }

  // A snapshot with a flipped bit, or with another one's name, is refused.
  const fs::path snapshot = snapshots / "000000000016-0.05.safetensors";
  const std::string whole = read_file(snapshot);
  std::string flipped = whole;
  flipped[flipped.size() - 2] = static_cast<char>(flipped[flipped.size() - 2] ^ 16);
  for (const std::string& content : {flipped, read_file(snapshots / "000000000008-0.05.safetensors")}) {
    write_file(snapshot, content);
    const Outcome altered = shell("casdm ema runs/small --sigma-rel 0.08 --out altered.safetensors", folder.path());
    CHECK(altered.status == 1);
    CHECK_MESSAGE(altered.err.find("000000000016-0.05.safetensors is altered") != std::string::npos, altered.err);
    CHECK_FALSE(fs::exists(folder.path() / "altered.safetensors"));
  }
  // So is one of another run with the same name.
  REQUIRE(
      shell("casdm train small.toml --set run.name=seed1 --set run.seed=1 --set train.total_images=16", folder.path())
          .status == 0);
  fs::copy_file(folder.path() / "runs/seed1/ema/000000000016-0.05.safetensors", snapshot,
                fs::copy_options::overwrite_existing);
  const Outcome foreign = shell("casdm ema runs/small --sigma-rel 0.08 --out foreign.safetensors", folder.path());
  CHECK(foreign.status == 1);
  CHECK_MESSAGE(contains(foreign.err, "is a snapshot of another run: its run.seed is 1"), foreign.err);
  CHECK_FALSE(fs::exists(folder.path() / "foreign.safetensors"));
  write_file(snapshot, whole);
  // A file with an impossible name is not a snapshot.
  fs::copy_file(snapshot, snapshots / "000000000016-0.3.safetensors");
  const Outcome beside = shell("casdm ema runs/small --sigma-rel 0.08 --out beside.safetensors", folder.path());
  CHECK_MESSAGE(beside.err.find("at 24 images from 6 snapshots") != std::string::npos, beside.err);
  // A flipped bit in an average made from them is refused, too.
  std::string average = read_file(folder.path() / "p08.safetensors");
  average[average.size() - 2] = static_cast<char>(average[average.size() - 2] ^ 16);
  write_file(folder.path() / "bad.safetensors", average);
  const Outcome bad = shell("casdm sample runs/small --num 1 --out bad --weights bad.safetensors", folder.path());
  CHECK(bad.status == 1);
  CHECK_MESSAGE(bad.err.find("bad.safetensors is altered") != std::string::npos, bad.err);

  // Without the record of what they are, one among others was altered; all may be of version 0.1.
  for (const bool are_all : {false, true}) {
    for (const fs::directory_entry& entry : fs::directory_iterator(snapshots)) {
      const std::string name = entry.path().filename();
      if (are_all || name == "000000000024-0.1.safetensors") {
        write_safetensors(entry.path(), read_safetensors(entry.path()).tensors);
      }
    }
    const Outcome old = shell("casdm ema runs/small --sigma-rel 0.08 --overwrite --out old.safetensors", folder.path());
    CHECK(old.status == (are_all ? 0 : 1));
    const std::string words = are_all ? " of the snapshots have no checksum, as casdm 0.1 wrote them"
                                      : "000000000024-0.1.safetensors is altered: it records nothing";
    CHECK_MESSAGE(contains(old.err, words), old.err);
  }

  refuses(folder.path(), "ema runs/small --sigma-rel 0.08 --out p08.safetensors", {"exists", "--overwrite"});
  refuses(folder.path(), "ema runs/small --sigma-rel 0.4 --out x", {"sigma_rel = 0.4", "1e-06 <= sigma_rel <= 0.28"});
  refuses(folder.path(), "ema runs/small --sigma-rel 0.1 --at 9 --out x", {"--at 9", "one of 8, 16, 24"});
  refuses(folder.path(), "ema runs/small --out x", {"--sigma-rel", "casdm ema --help"});
  refuses(folder.path(), "ema nowhere --sigma-rel 0.1 --out x", {"nowhere"});
  REQUIRE(shell("casdm train small.toml --set run.name=plain --set 'ema={}' --set train.total_images=4", folder.path())
              .status == 0);
  refuses(folder.path(), "ema runs/plain --sigma-rel 0.1 --out x", {"no snapshots", "ema.snapshot_every_images"});
}
