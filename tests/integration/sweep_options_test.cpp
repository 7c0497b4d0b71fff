#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("a sweep keeps the runs of an option that has no effect when it is taken out, and says so where it is not") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto sweep = [&](const std::string& seeds, const std::string& set) {
    write_file(folder.path() / "sweep.toml", text("name = \"one\"\nbase = \"small.toml\"\nseeds = [", seeds,
                                                  "]\n[[arms]]\nname = \"plain\"\nset = [", set, "]\n"));
    return shell("casdm sweep sweep.toml --no-pilot", folder.path());
  };
  const Outcome first = sweep("0", "\"log.sample_count=0\"");
  REQUIRE_MESSAGE(first.status == 0, first.err);
  // As an earlier version, which did not refuse the option, has left the run.
  const std::filesystem::path config = folder.path() / "runs/one/plain-s0/config.toml";
  std::string experiment = read_file(config);
  const std::string whole = "interval = [0.0, 1.0]", part = "interval = [0.0, 0.5]";
  const std::size_t at = experiment.find(whole);
  REQUIRE(at != std::string::npos);
  write_file(config, experiment.replace(at, whole.size(), part));

  const std::string idle = "\"log.sample_count=0\", \"guidance.interval=[0.0, 0.5]\"";
  const Outcome refused = sweep("0, 1", idle);
  CHECK(refused.status == 2);
  CHECK_MESSAGE(refused.err.find("guidance.interval: it has no effect with scale = 1.0") != std::string::npos,
                refused.err);
  CHECK_MESSAGE(refused.err.find("the runs that the arm has with them are kept") != std::string::npos, refused.err);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "runs/one/plain-s1"));
  const Outcome taken_out = sweep("0, 1", "\"log.sample_count=0\"");
  REQUIRE_MESSAGE(taken_out.status == 0, taken_out.err);
  CHECK(read_file(config).find(part) != std::string::npos);
  // What had an effect is another experiment.
  const Outcome other = sweep("0, 1", "\"log.sample_count=0\", \"guidance.scale=1.5\"");
  CHECK(other.status == 2);
}

TEST_CASE("weights that a sweep evaluates may be a file, relative to the sweep file and with a comma in its name") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome trained =
      shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0", folder.path());
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  std::filesystem::create_directory(folder.path() / "study");
  std::filesystem::copy_file(folder.path() / "runs/small/checkpoints/000000000008/ema.safetensors",
                             folder.path() / "study/a,b.safetensors");
  const auto sweep = [&](const std::string& weights) {
    write_file(folder.path() / "study/sweep.toml",
               "name = \"one\"\nbase = \"../small.toml\"\nseeds = [0]\nset = [\"log.sample_count=0\", "
               "\"train.total_images=8\", \"evaluate.judges=[{type='pixels'}]\"]\n"
               "evaluate = [\"--num\", \"4\", \"--set\", \"evaluate.reference_num=20\", \"--weights\", \"" +
                   weights + "\"]\n[[arms]]\nname = \"plain\"\n");
    return shell("export CASDM_CACHE=$PWD/cache; casdm sweep study/sweep.toml --no-pilot", folder.path());
  };
  const Outcome missing = sweep("ema,b.safetensors");
  CHECK(missing.status == 2);
  CHECK_MESSAGE(
      missing.err.find("--weights \"b.safetensors\": expected ema, raw, or a file, relative to the sweep file") !=
          std::string::npos,
      missing.err);
  const Outcome swept = sweep("ema,a,b.safetensors");
  REQUIRE_MESSAGE(swept.status == 0, swept.err);
  CHECK_MESSAGE(swept.out.find("a,b.safetensors") != std::string::npos, swept.out);
  const auto count = [&] {
    return std::distance(std::filesystem::directory_iterator(folder.path() / "runs/one/plain-s0/evaluation"), {});
  };
  CHECK(count() == 2);
  // Other weights of that name are judged anew.
  std::filesystem::copy_file(folder.path() / "runs/small/checkpoints/000000000008/weights.safetensors",
                             folder.path() / "study/a,b.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  const Outcome again = sweep("ema,a,b.safetensors");
  REQUIRE_MESSAGE(again.status == 0, again.err);
  CHECK(count() == 3);
}

TEST_CASE("a sweep whose arms leave the precision to the machine finds its runs again") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  write_file(folder.path() / "sweep.toml",
             "name = \"one\"\nbase = \"small.toml\"\nseeds = [0]\nset = [\"log.sample_count=0\"]\n"
             "[[arms]]\nname = \"plain\"\nset = [\"run.precision=auto\"]\n");
  const std::string command = "XDG_CACHE_HOME=$PWD/cache casdm sweep sweep.toml --no-pilot";
  const Outcome first = shell(command, folder.path());
  REQUIRE_MESSAGE(first.status == 0, first.err);
  const Outcome again = shell(command, folder.path());
  CHECK_MESSAGE(again.status == 0, again.err);
  // A precision that the arm names is another experiment.
  const std::string named = read_file(folder.path() / "sweep.toml");
  std::string other = named;
  other.replace(other.find("precision=auto"), 14, "precision=tf32");
  write_file(folder.path() / "sweep.toml", other);
  CHECK(shell(command, folder.path()).status == 2);
}
