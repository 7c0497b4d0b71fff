#include <doctest/doctest.h>

#include "bad_plugins/cage.h"
#include "casdm/text.h"
#include "framework/support/files.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

// Which files of plugins may run: those that the user has allowed, and those that an experiment was locked to.

TEST_CASE("a library that an experiment brings runs only when the user has allowed it") {
  const Cage cage;
  cage.admit();
  const std::string plain = "unset CASDM_TRUST_PLUGINS; ";
  says(cage, "not_allowed", 1, plain + kTrain, "static_crash");
  for (const char* off : {"0", "''"}) {
    const Outcome outcome = cage.run(std::string("export CASDM_TRUST_PLUGINS=") + off + "; " + kTrain, "static_crash");
    CHECK_MESSAGE(outcome.err.find("pass --trust-plugins once") != std::string::npos, outcome.err);
  }
  CHECK(cage.run(plain + "casdm config check small.toml", "static_crash").status == 0);
  CHECK(cage.run(plain + "casdm plugins list --config small.toml", "static_crash").status == 0);
  CHECK(cage.run(plain + "casdm plugins doctor --config small.toml", "static_crash").status == 1);
  write_file(cage.path() / "sweep.toml",
             "name = \"s\"\nbase = \"small.toml\"\n[[arms]]\nname = \"one\"\n[[arms]]\nname = \"two\"\n"
             "set = [\"train.batch_size=2\"]\n");
  const Outcome sweep = cage.run(plain + "casdm sweep sweep.toml --no-pilot", "static_crash");
  CHECK(sweep.status == 1);
  CHECK_MESSAGE(sweep.err.find("pass --trust-plugins once") != std::string::npos, sweep.err);
  CHECK_FALSE(fs::exists(cage.path() / "runs"));
  REQUIRE(cage.run(plain + kTrain + " --trust-plugins").status == 0);
  const std::string sample = "casdm sample runs/small --num 1 --out out";
  CHECK(cage.run(plain + sample).status == 0);

  // The same run on a machine where nobody has allowed its plugin.
  const std::string stranger = plain + "export XDG_STATE_HOME=$PWD/stranger; ";
  for (const char* command :
       {"casdm train --resume runs/small --set train.total_images=8", "casdm train small.toml --set run.name=b"}) {
    const Outcome outcome = cage.run(stranger + command, "static_crash");
    CAPTURE(command);
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(outcome.err.find("pass --trust-plugins once") != std::string::npos, outcome.err);
  }
  CHECK(cage.run(stranger + sample + "2", "static_crash").err.find("Segmentation") == std::string::npos);

  // Naming the file allows it.
  CHECK(cage.run(stranger + "casdm plugins check plugins/zoo.so --filter constructs").status == 0);
  CHECK(cage.run(stranger + "casdm train --resume runs/small --set train.total_images=8").status == 0);
}

TEST_CASE("permission is for a file with its content: another file at the same path is asked for again") {
  const Cage cage;
  cage.admit();
  const std::string plain = "unset CASDM_TRUST_PLUGINS; ";
  const std::string sample = "casdm train small.toml --overwrite";
  REQUIRE(cage.run(plain + sample + " --trust-plugins").status == 0);
  CHECK(cage.run(plain + sample).status == 0);
  cage.admit("the zoo is closed",
             "the zoo is opened");  // the build id stays the same, since it can be chosen by whoever builds a library
  says(cage, "allowed_file_changed", 1, plain + sample, "static_crash");
  CHECK(cage.run(plain + "casdm plugins check plugins/zoo.so --filter constructs").status == 0);
  CHECK(cage.run(plain + sample).status == 0);

  // Where others can write the list, they could allow what they like.
  fs::permissions(cage.path() / "state/casdm", fs::perms::others_write, fs::perm_options::add);
  const Outcome open = cage.run(plain + sample, "static_crash");
  CHECK(open.status == 1);
  CHECK_MESSAGE(open.err.find("trusted_plugins.json, which is in the folder ") != std::string::npos, open.err);
  fs::permissions(cage.path() / "state/casdm", fs::perms::others_write, fs::perm_options::remove);
  CHECK(cage.run(plain + sample).status == 0);

  // As earlier versions remembered it: only by path.
  write_file(cage.path() / "state/casdm/trusted_plugins.json", text("[\"", cage.plugin().string(), "\"]"));
  says(cage, "allowed_by_path", 1, plain + sample, "static_crash");
  CHECK(cage.run(plain + sample + " --trust-plugins").status == 0);
  CHECK(cage.run(plain + sample).status == 0);
}

TEST_CASE("a locked experiment uses the files it was locked to, and no others") {
  const Cage cage;
  cage.admit();
  REQUIRE(cage.run("casdm plugins lock --config small.toml > lock.toml && cat lock.toml >> small.toml").status == 0);
  CHECK(cage.run(kTrain).status == 0);
  CHECK(cage.run("casdm config check small.toml").status == 0);
  // The lock has the recommended judges, by which a run is evaluated.
  const auto judged = [&](const std::string& run, const std::string& more = "") {
    return cage
        .run("CASDM_CACHE=cache casdm evaluate runs/" + run + " --num 4 --steps 2 --set evaluate.reference_num=16" +
             more)
        .err;
  };
  std::string err = judged("small");
  CHECK_MESSAGE(err.find("is not in the lock") == std::string::npos, err);
  // A lock without them: the message says how to evaluate nevertheless.
  std::string shorter = read_file(cage.path() / "small.toml");
  const std::size_t judge = shorter.rfind("[[plugins.lock]]", shorter.find("\"feature_extractors\""));
  shorter.erase(judge, shorter.find("[[", judge + 2) - judge);
  write_file(cage.path() / "shorter.toml", shorter);
  REQUIRE(cage.run("casdm train shorter.toml --set run.name=shorter").status == 0);
  err = judged("shorter");
  CHECK_MESSAGE(err.find("evaluate with --config and that file") != std::string::npos, err);
  cage.run("echo '[evaluate]' > judges.toml && casdm plugins lock --config runs/shorter/config.toml >> judges.toml");
  err = judged("shorter", " --config judges.toml");
  CHECK_MESSAGE(err.find("is not in the lock") == std::string::npos, err);
  cage.admit("the zoo is closed", "the zoo is opened");
  says(cage, "locked_file_changed", 1, kTrain + " --set run.name=again");
  says(cage, "locked_file_changed", 1, "casdm config check small.toml");
  CHECK_FALSE(fs::exists(cage.path() / "runs/again"));
  cage.admit();
  says(cage, "not_in_lock", 1, kTrain + " --set run.name=again --set metrics.0.type=l1");
}

TEST_CASE("no command loads a plugin that the lock does not allow") {
  const Cage cage;
  cage.admit();
  const auto admit_network = [&](const std::string& id, const std::string& more = "") {
    std::string bytes =
        read_file(fs::path(CASDM_PROGRAM).parent_path().parent_path() / "lib/casdm/plugins/backbone_unet.so");
    replace_all(bytes, "backbone_unet", id);
    write_file(cage.path() / "more" / (id + ".so"), bytes + more);
  };
  fs::create_directory(cage.path() / "more");
  admit_network("backbone_unex");
  const std::string more = "export CASDM_PLUGIN_PATH=\"$PWD/more\"; ";
  std::string config = read_file(cage.path() / "small.toml");
  replace_all(config, "type = \"unet\"", "type = \"backbone_unex/unet\"");
  write_file(cage.path() / "small.toml", config);
  REQUIRE(cage.run(more + "casdm plugins lock --config small.toml > lock.toml && cat lock.toml >> small.toml").status ==
          0);
  REQUIRE(cage.run(more + kTrain).status == 0);
  const std::string export_theta = more + "casdm export runs/small --module theta --overwrite --out theta.safetensors";
  const std::string import_theta = more + "casdm import theta.safetensors --overwrite --out in.safetensors ";
  CHECK(cage.run(export_theta).err.find("unex") == std::string::npos);

  // Weight layouts of plugins that the experiment does not name.
  admit_network("backbone_unez");
  for (const std::string& command : {export_theta, import_theta + "--config small.toml --module theta"}) {
    CAPTURE(command);
    const Outcome outcome = cage.run(command);
    CHECK(outcome.status == 0);
    CHECK_MESSAGE(outcome.err.find("unez.so) is not in the lock") != std::string::npos, outcome.err);
  }
  CHECK(cage.run(import_theta).err.find("lock") == std::string::npos);
  const Outcome doctor = cage.run(more + "casdm plugins doctor --config small.toml");
  CHECK_MESSAGE(doctor.out.find("backbone_unez.so): is not in the experiment's [[plugins.lock]], and was not loaded") !=
                    std::string::npos,
                doctor.out);

  admit_network("backbone_unex", "\n");
  for (const std::string& command :
       {export_theta, import_theta + "--config small.toml --module theta",
        more + "casdm sample runs/small --num 1 --out out",
        more + "casdm train --resume runs/small --set train.total_images=32", more + "casdm config check small.toml"}) {
    CAPTURE(command);
    const Outcome outcome = cage.run(command);
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(outcome.err.find("more/backbone_unex.so) has the SHA-256 ") != std::string::npos, outcome.err);
  }
  CHECK(cage.run(more + "casdm plugins doctor --config small.toml").status == 1);
}
