#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>
#include <sstream>

#include "casdm/plugin_description.h"
#include "casdm/text.h"
#include "framework/loading/stamp.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

/// Plugins that break the rules, and the complete text that the user gets. The texts are in golden/<case>.txt;
/// CASDM_UPDATE_GOLDEN=1 rewrites them, to be read before they are committed.
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

std::string stamp_value(std::string_view stamp, const std::string& field) {
  for (const auto& [name, value] : parse_stamp(stamp)) {
    if (name == field) return value;
  }
  return "";
}

/// The host's LibTorch version with another minor number of the same length.
std::string other_libtorch() {
  std::string version = stamp_value(host_stamp(), "libtorch");
  version[2] = version[2] == '9' ? '8' : '9';
  return version;
}

/// Without the lines at the start of a training about what it will do.
std::string without_start(const std::string& text) {
  static const std::regex start("(data|device|networks|metrics|steps): .*|changed at .*|[0-9]+ threads?( .*|,.*)?");
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, start)) result += line + "\n";
  }
  return result;
}

/// One case: a folder with an experiment that uses the metric "zoo", found in plugins/.
class Cage {
 public:
  Cage() {
    const fs::path file = write_small_config(folder_.path(), "[plugins]\npaths = [\"plugins\"]\n");
    std::string config = read_file(file);
    replace_all(config, "type = \"l1\"", "type = \"zoo\"");
    write_file(file, config);
    fs::create_directory(folder_.path() / "plugins");
  }

  const fs::path& path() const { return folder_.path(); }
  fs::path plugin() const { return path() / "plugins" / "zoo.so"; }

  /// Copies the plugin there, with `from` in its bytes replaced by `to` of the same length.
  void admit(const std::string& from = "", const std::string& to = "") const {
    std::string bytes = read_file(CASDM_ZOO_PLUGIN);
    REQUIRE(from.size() == to.size());
    if (!from.empty()) {
      REQUIRE(bytes.find(from) != std::string::npos);
      replace_all(bytes, from, to);
    }
    write_file(plugin(), bytes);
  }

  Outcome run(const std::string& command, const std::string& wish = "") const {
    const bool hangs = wish.find("hang") != std::string::npos;
    return shell(text("export CASDM_TRUST_PLUGINS=1 XDG_STATE_HOME=\"$PWD/state\" XDG_DATA_HOME=\"$PWD/data\"; ",
                      hangs ? "export CASDM_PROBE_TIMEOUT=2; " : "", "export CASDM_ZOO='", wish,
                      "'; unset CASDM_PLUGIN_PATH; ", command),
                 path());
  }

  /// `text` with everything replaced that differs between machines and runs.
  std::string settled(std::string text) const {
    text = without_start(text);
    replace_all(text, path().string(), "FOLDER");
    replace_all(text, fs::path(CASDM_PROGRAM).parent_path().parent_path().string(), "PREFIX");
    replace_all(text, "SDK (casdm " + stamp_value(host_stamp(), "sdk_version"), "SDK (casdm VERSION");
    replace_all(text, stamp_value(host_stamp(), "sdk_headers"), "HEADERS");
    replace_all(text, stamp_value(host_stamp(), "libtorch"),
                "X.YY.Z");  // of the same length, for the columns of tables
    replace_all(text, other_libtorch(), "X.99.Z");
    text = std::regex_replace(text, std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ"), "TIME");
    text = std::regex_replace(text, std::regex("available: [^\n]*"), "available: ...");
    text = std::regex_replace(text, std::regex("threads, from \\d+ to \\d+"), "threads, from N to M");
    return std::regex_replace(text, std::regex("\\b[0-9a-f]{64}\\b"), "SHA256");
  }

 private:
  TemporaryFolder folder_;
};

/// The command must fail with this status and print exactly golden/<name>.txt to stderr.
void says(const Cage& cage, const std::string& name, int status, const std::string& command,
          const std::string& wish = "") {
  CAPTURE(name);
  const Outcome outcome = cage.run(command, wish);
  CHECK(outcome.status == status);
  const std::string text = cage.settled(outcome.err);
  const fs::path golden = fs::path(CASDM_GOLDEN) / (name + ".txt");
  if (std::getenv("CASDM_UPDATE_GOLDEN") != nullptr) write_file(golden, text);
  REQUIRE(fs::exists(golden));
  CHECK(text == read_file(golden));
}

const std::string kTrain = "casdm train small.toml --set train.total_images=4";

}  // namespace

TEST_CASE("without a fault, the zoo's plugin is a good one") {
  const Cage cage;
  cage.admit();
  const Outcome outcome = cage.run(kTrain);
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
}

TEST_CASE("a plugin of another build is refused before its code runs") {
  const auto refused = [](const std::string& name, const std::string& from, const std::string& to) {
    const Cage cage;
    cage.admit(from, to);
    says(cage, name, 2, kTrain, "static_crash");
    CHECK_FALSE(fs::exists(cage.path() / "runs"));
  };
  const std::string libtorch = stamp_value(host_stamp(), "libtorch");
  const std::string headers = stamp_value(host_stamp(), "sdk_headers");
  refused("other_abi", "cxx11_abi=1", "cxx11_abi=0");
  refused("older_sdk", "sdk_headers=" + headers, "sdk_headers=0123456789abcdef");
  refused("other_libtorch", "libtorch=" + libtorch, "libtorch=" + other_libtorch());
  refused("version_1", "\"interface_version\":2", "\"interface_version\":1");
  refused("other_interface", "\"interface_version\":2", "\"interface_version\":7");
}

TEST_CASE("a library that nobody should load is refused with the reason") {
  const auto refused = [](const std::string& name, const std::function<void(const Cage&)>& spoil) {
    const Cage cage;
    cage.admit();
    spoil(cage);
    says(cage, name, 2, kTrain);
  };
  refused("writable_by_others", [](const Cage& cage) { ::chmod(cage.plugin().c_str(), 0666); });
  refused("folder_writable_by_others", [](const Cage& cage) { ::chmod((cage.path() / "plugins").c_str(), 0777); });
  refused("folder_above_writable_by_others", [](const Cage& cage) { ::chmod(cage.path().c_str(), 0777); });
  refused("truncated", [](const Cage& cage) { fs::resize_file(cage.plugin(), 3000); });
  refused("no_library", [](const Cage& cage) { write_file(cage.plugin(), "hello"); });
  refused("other_machine", [](const Cage& cage) {
    std::string bytes = read_file(cage.plugin());
    bytes[18] = 8;  // e_machine: MIPS
    write_file(cage.plugin(), bytes);
  });
  refused("duplicate_id", [](const Cage& cage) { fs::copy_file(cage.plugin(), cage.path() / "plugins" / "twin.so"); });
}

TEST_CASE("a plugin that crashes, exits, hangs or throws while it is loaded does no harm") {
  const auto refused = [](const std::string& wish) {
    const Cage cage;
    cage.admit();
    says(cage, wish, 1, kTrain, wish);
  };
  for (const char* wish : {"static_crash", "static_abort", "static_exit", "static_hang", "static_throw",
                           "static_foreign", "entry_crash", "entry_throw", "note_lies"}) {
    refused(wish);
  }
}

TEST_CASE("a component that crashes, exits, hangs or throws while it is created does no harm") {
  for (const char* wish : {"factory_crash", "factory_exit", "factory_hang", "factory_throw", "factory_foreign"}) {
    const Cage cage;
    cage.admit();
    says(cage, wish, 1, kTrain, wish);
  }
}

TEST_CASE("a component that throws in training is named with its location in the experiment") {
  for (const char* wish : {"distance_throw", "distance_foreign", "distance_own", "backward_own", "buffers_throw",
                           "info_foreign", "backward_throw"}) {
    const Cage cage;
    cage.admit();
    says(cage, wish, 1, kTrain, wish);
  }
  const Cage cage;
  cage.admit();
  says(cage, "distance_config", 2, kTrain, "distance_config");
}

TEST_CASE("a component that ends the program in training is named, and the status is not 0") {
  const Cage cage;
  cage.admit();
  REQUIRE(cage.run(kTrain).status == 0);
  const std::string resume = "casdm train --resume runs/small --set train.total_images=12";
  for (const char* wish : {"distance_exit", "distance_stdexit", "distance_quickexit", "distance_threadexit",
                           "backward_exit", "info_stdexit"}) {
    says(cage, wish, 1, resume, wish);
  }
  CHECK(cage.run(resume).status == 0);
}

TEST_CASE("a change of global state in training is named with its component") {
  const Cage cage;
  cage.admit();
  REQUIRE(cage.run(kTrain).status == 0);
  const std::string resume = "casdm train --resume runs/small --set train.total_images=12";
  for (const char* wish : {"distance_dtype", "distance_grad", "distance_threads", "distance_generator",
                           "distance_signal", "distance_folder", "distance_locale", "distance_rounding"}) {
    says(cage, wish, 1, resume, wish);
  }
  CHECK(cage.run(resume).status == 0);
}

TEST_CASE("a crash in training names the component, and the run continues from its checkpoint") {
  const Cage cage;
  cage.admit();
  REQUIRE(cage.run(kTrain).status == 0);
  const std::string resume = "casdm train --resume runs/small --set train.total_images=12";
  const Outcome crashed = cage.run("ulimit -c 0; " + resume, "distance_crash");
  CHECK(crashed.status == 128 + 11);
  CHECK_MESSAGE(
      crashed.err.find("casdm: crashed (SIGSEGV) in code that the component 'metric_zoo/zoo' called. Test its "
                       "plugin with `casdm plugins check`; --safe-mode runs with the installed plugins alone\n") !=
          std::string::npos,
      crashed.err);
  const std::pair<const char*, const char*> others[] = {
      {"info_crash", "in code that the component 'metric_zoo/zoo' called"},
      {"buffers_abort", "in code that the component 'metric_zoo/zoo' called"},
      {"backward_crash", "in code that the component 'metric_zoo/zoo' called"},
      {"distance_thread", "in code of the plugin metric_zoo ("},
      {"destructor_crash", "in code that the component 'metric_zoo/zoo' called"}};  // after the last step
  for (const auto& [wish, words] : others) {
    CAPTURE(wish);
    const Outcome outcome = cage.run("ulimit -c 0; " + resume, wish);
    CHECK(outcome.status > 128);
    CHECK_MESSAGE(outcome.err.find(words) != std::string::npos, outcome.err);
  }
  CHECK(cage.run(resume + " --set train.total_images=16").status == 0);
}

TEST_CASE("a plugin that did not load in time is tried again the next time") {
  const Cage cage;
  cage.admit();
  CHECK(cage.run(kTrain, "static_hang").status == 1);
  CHECK(cage.run(kTrain).status == 0);
}

TEST_CASE("a trial ends when the program waiting for it dies") {
  const Cage cage;
  cage.admit();
  const Outcome outcome =
      cage.run("export CASDM_PROBE_TIMEOUT=60; " + kTrain +
                   " & program=$!; for i in $(seq 200); do trial=$(pgrep -P $program) && break; sleep 0.1; done\n"
                   "kill -9 $program; for i in $(seq 100); do kill -0 $trial 2>/dev/null || break; sleep 0.1; done\n"
                   "[ -n \"$trial\" ] && ! kill -0 $trial 2>/dev/null && echo ended",
               "static_hang");
  CHECK(outcome.out.find("ended") != std::string::npos);
}

TEST_CASE("a crash is remembered until the plugin is rebuilt or forgiven, and safe mode works without it") {
  const Cage cage;
  cage.admit();
  CHECK(cage.run(kTrain, "static_crash").status == 1);
  says(cage, "remembered_crash", 2, kTrain);
  says(cage, "safe_mode", 2, "casdm --safe-mode train small.toml");
  CHECK(cage.run(kTrain + " --safe-mode --set metrics.0.type=l1").status == 0);
  CHECK(cage.run("casdm plugins doctor --plugin plugins/zoo.so").status == 1);
  CHECK(cage.run("casdm plugins doctor --forget-crashes").err == "forgot 1 crashes\n");
  CHECK(cage.run(kTrain + " --set run.name=again").status == 0);
}

TEST_CASE("a library that an experiment brings runs only when the user has allowed it") {
  const Cage cage;
  cage.admit();
  const std::string plain = "unset CASDM_TRUST_PLUGINS; ";
  says(cage, "not_allowed", 1, plain + kTrain, "static_crash");
  CHECK(cage.run(plain + "casdm config check small.toml", "static_crash").status == 0);
  CHECK(cage.run(plain + "casdm plugins list --config small.toml", "static_crash").status == 0);
  CHECK(cage.run(plain + "casdm plugins doctor --config small.toml", "static_crash").status == 1);
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

  // As earlier versions remembered it: only by path.
  write_file(cage.path() / "state/casdm/trusted_plugins.json", text("[\"", cage.plugin().string(), "\"]"));
  says(cage, "allowed_by_path", 1, plain + sample, "static_crash");
  CHECK(cage.run(plain + sample + " --trust-plugins").status == 0);
  CHECK(cage.run(plain + sample).status == 0);
}

TEST_CASE("a missing library is named together with the library that needs it") {
  const Cage cage;
  cage.admit("libcasdm_sdk.so", "libcasdm_off.so");
  says(cage, "missing_library", 1, kTrain);

  // Indirectly: a copy of a library that the plugin needs, which itself needs a missing one.
  std::string bytes = read_file(CASDM_SDK_LIBRARY);
  REQUIRE(bytes.find("libstdc++.so.6") != std::string::npos);
  replace_all(bytes, "libstdc++.so.6", "libstdc--.so.6");
  write_file(cage.path() / "libcasdm_off.so", bytes);
  says(cage, "missing_library_of_a_library", 1, "LD_LIBRARY_PATH=\"$PWD\" " + kTrain);
}

TEST_CASE("a locked experiment uses the files it was locked to, and no others") {
  const Cage cage;
  cage.admit();
  REQUIRE(cage.run("casdm plugins lock --config small.toml > lock.toml && cat lock.toml >> small.toml").status == 0);
  CHECK(cage.run(kTrain).status == 0);
  CHECK(cage.run("casdm config check small.toml").status == 0);
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

TEST_CASE("a file that --plugin names is used or the command fails") {
  const Cage cage;
  cage.admit("libtorch=", "libtorch_");
  says(cage, "named_file", 1, kTrain + " --plugin plugins/zoo.so --set metrics.0.type=l1");
  says(cage, "named_file", 1, "casdm config check small.toml --plugin plugins/zoo.so --set metrics.0.type=l1");
  says(cage, "named_file_missing", 1, kTrain + " --plugin nowhere.so --set metrics.0.type=l1");
  CHECK(cage.run("casdm plugins list --plugin plugins/zoo.so").status == 0);
}

TEST_CASE("a LibTorch of another version is distinguished from a plugin built for another") {
  const Cage cage;
  cage.admit();
  const std::string library =
      "echo 'extern \"C\" unsigned long aoti_torch_abi_version() { return 0x0209080000000000; }' "
      "| c++ -x c++ -shared -fPIC -o other.so -";
  if (cage.run(library).status != 0) {
    MESSAGE("skipped: no C++ compiler in PATH");
    return;
  }
  says(cage, "other_libtorch_loaded", 1, "LD_PRELOAD=\"$PWD/other.so\" " + kTrain);
}

TEST_CASE("the doctor finds what is wrong, and nothing else") {
  const Cage cage;
  cage.admit();
  const std::string doctor = "casdm plugins doctor --config small.toml";
  const Outcome healthy = cage.run(doctor);
  CHECK_MESSAGE(healthy.status == 0, healthy.out);
  CHECK(healthy.out.find("no problems found") != std::string::npos);
  CHECK(healthy.out.find("metric_zoo (" + cage.plugin().string() + "): loads; 1 components") != std::string::npos);
  const Outcome ill = cage.run(doctor + " --json", "static_hang");
  CHECK(ill.status == 1);
  CHECK_MESSAGE(ill.out.find("it did not end within 2 s while it was being loaded") != std::string::npos, ill.out);
}
