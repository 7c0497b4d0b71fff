#include <doctest/doctest.h>
#include <sys/stat.h>

#include <functional>

#include "bad_plugins/cage.h"
#include "casdm/plugin_description.h"
#include "framework/loading/stamp.h"
#include "framework/support/files.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

// Plugins that break the rules, and the complete text that the user gets. The texts are in golden/<case>.txt.

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

TEST_CASE("a change of global state by a library that is loaded, or a component that is created, is named") {
  const Cage cage;
  cage.admit();
  for (const char* change : {"_dtype", "_grad", "_generator", "_signal", "_rounding"}) {
    for (const auto& [place, who] : {std::pair("static", "metric_zoo"), std::pair("entry", "metric_zoo"),
                                     std::pair("factory", "metric_zoo/zoo")}) {
      CAPTURE(change);
      const Outcome outcome = cage.run(kTrain, std::string(place) + change);
      CHECK(outcome.status == 1);
      CHECK_MESSAGE(outcome.err.find("the component '" + std::string(who) + "' changed ") != std::string::npos,
                    outcome.err);
      CHECK_FALSE(fs::exists(cage.path() / "runs"));
    }
  }
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
