#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "casdm/text.h"
#include "distributed/runs.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

bool runs(const std::string& line) { return std::system(("{ " + line + "; } >/dev/null 2>&1").c_str()) == 0; }

/// Two network namespaces connected by a cable, which act as two hosts.
class Hosts {
 public:
  Hosts() {
    is_there_ = ::geteuid() == 0 &&
                runs(text("ip netns add ", name(0), " && ip netns add ", name(1), " && ip link add ", cable(0),
                          " netns ", name(0), " type veth peer name ", cable(1), " netns ", name(1)));
    for (const int i : {0, 1}) {
      is_there_ =
          is_there_ && runs(text("ip -n ", name(i), " address add ", address(i), "/24 dev ", cable(i), " && ip -n ",
                                 name(i), " link set ", cable(i), " up && ip -n ", name(i), " link set lo up"));
    }
  }
  ~Hosts() {
    for (const int i : {0, 1}) runs("ip netns del " + name(i));
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  bool is_there() const { return is_there_; }
  static std::string address(int i) { return text("10.213.77.", i + 1); }
  std::string prefix(int i) const { return text("ip netns exec ", name(i), " "); }
  void cut() const { REQUIRE(runs(text("ip -n ", name(1), " link set ", cable(1), " down"))); }

 private:
  std::string name(int i) const { return text("casdm-", ::getpid(), '-', i); }
  std::string cable(int i) const { return text("csd", ::getpid() % 100000, '-', i); }
  bool is_there_;
};

/// One process on each of the two.
std::vector<Environment> apart(const std::string& patience) {
  std::vector<Environment> result = environments(2);
  for (Environment& environment : result) {
    environment.insert_or_assign("LOCAL_RANK", std::string("0"));
    environment.insert_or_assign("LOCAL_WORLD_SIZE", std::string("1"));
    environment.insert_or_assign("MASTER_ADDR", Hosts::address(0));
    environment.insert_or_assign("CASDM_WAIT_SECONDS", patience);
  }
  return result;
}

}  // namespace

TEST_CASE("processes on two hosts train one run, and detect a lost link by its silence") {
  const Hosts hosts;
  if (!hosts.is_there()) {
    MESSAGE("skipped: network namespaces need root and iproute2");
    return;
  }
  const TemporaryFolder folder;
  write_experiment(folder.path());
  {
    Processes run(folder.path(), {"small.toml"}, apart("600"), {hosts.prefix(0), hosts.prefix(1)});
    run.wait();
    CHECK_MESSAGE(run.status(0) == 0, run.output());
    CHECK_MESSAGE(run.status(1) == 0, run.output());
    train(folder.path(), 1, "small.toml --set run.name=one");
    check_same(folder.path() / "runs/one", folder.path() / "runs/run", 1e-4);
  }
  Processes run(folder.path(),
                {"small.toml --set run.name=lost --set train.total_images=1M --set checkpoint.every_images=1M"},
                apart("4"), {hosts.prefix(0), hosts.prefix(1)});
  REQUIRE_MESSAGE(run.wait_for(0, "training "), run.output());
  hosts.cut();
  run.wait();
  CHECK(run.status(0) == 1);
  CHECK(run.status(1) == 1);
  REQUIRE_MESSAGE(run.messages().size() == 2, run.output());  // neither can know that the other has reported it
  CHECK_MESSAGE(run.messages()[0].starts_with("casdm: rank 1 on "), run.output());
  CHECK_MESSAGE(run.output().find("images is saved") != std::string::npos, run.output());
  CHECK_MESSAGE(run.messages()[1].find("rank 0 at \"10.213.77.1\" has not answered for 4 s") != std::string::npos,
                run.output());
}
