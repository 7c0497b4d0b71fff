#include <doctest/doctest.h>

#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/resolve.h"
#include "support.h"

using namespace casdm;
using casdm::testing::fake_catalog;
using casdm::testing::kSmallExperiment;
using casdm::testing::message_of;
using casdm::testing::small_experiment;
using casdm::testing::TemporaryFolder;

TEST_CASE("an optimizer without a type is adamw, as in files of version 0.1") {
  const Value none = *small_experiment("").find("optimizer");
  CHECK(*none.find("type") == Value("optimizer_fake/adamw"));
  CHECK(*none.find("eps") == Value(1e-8));
  CHECK(*none.find("learning_rate") == Value(1e-4));
  const Value some = *small_experiment("[optimizer]\nbetas = [0.8, 0.9]\nclip_norm = 2").find("optimizer");
  CHECK(*some.find("type") == Value("optimizer_fake/adamw"));
  CHECK(*some.find("betas") == Value(Value::Array{0.8, 0.9}));
  CHECK(*some.find("clip_norm") == Value(2.0));
  const Value other = *small_experiment("[optimizer]\ntype = 'sgd'").find("optimizer");
  CHECK(*other.find("momentum") == Value(0.9));
  CHECK(other.find("eps") == nullptr);
}

TEST_CASE("a module's table in [optimizer] keeps what it sets, and the rest follows the table above it") {
  const Value resolved = small_experiment(
      "[optimizer]\nlearning_rate = 0.5\nbetas = [0.8, 0.9]\nschedule = 'linear'\n"
      "[optimizer.phi]\nlearning_rate = 1\neps = 0.1\n"
      "[optimizer.psi]\ntype = 'sgd'\nclip_norm = 0\n");
  const Value& optimizer = *resolved.find("optimizer");
  CHECK(to_json(*optimizer.find("phi")) == R"({"learning_rate":1.0,"eps":0.1})");
  CHECK(to_json(*optimizer.find("psi")) ==
        R"({"type":"optimizer_fake/sgd","clip_norm":0.0,"momentum":0.9,"nesterov":false})");
  // As in a run's folder.
  CHECK(resolve(resolved, schema_of<Experiment>(), fake_catalog()) == resolved);

  const auto options = read_options<Experiment>(resolved).optimizer;
  CHECK(options.modules() == std::vector<std::string>{"phi", "psi"});
  CHECK(options.of("theta").learning_rate == 0.5);
  const OptimizerOptions phi = options.of("phi");
  CHECK(phi.component.type == "optimizer_fake/adamw");
  CHECK(phi.learning_rate == 1);
  CHECK(phi.schedule == RateSchedule::linear);
  CHECK(*phi.component.table.find("betas") == Value(Value::Array{0.8, 0.9}));
  CHECK(*phi.component.table.find("eps") == Value(0.1));
  const OptimizerOptions psi = options.of("psi");
  CHECK(psi.component.type == "optimizer_fake/sgd");
  CHECK(psi.learning_rate == 0.5);
  CHECK(psi.clip_norm == 0);
  CHECK(psi.component.table.find("betas") == nullptr);
  CHECK(psi.modules().empty());
}

TEST_CASE("a module's table in [optimizer] is checked against its own component") {
  const auto problem = [](const std::string& toml) {
    return message_of<ConfigError>([&] { small_experiment("[optimizer]\n" + toml); });
  };
  CHECK(problem("[optimizer.phi]\nep = 1") ==
        "x:13:6: optimizer.phi.ep: unknown key of adamw (plugin optimizer_fake) and of [optimizer.phi]; did you mean "
        "'eps'?");
  CHECK(problem("[optimizer.phi]\ntype = 'sgd'\neps = 1").find("unknown key of sgd (plugin optimizer_fake)") !=
        std::string::npos);
  CHECK(problem("type = 'sgd'\n[optimizer.phi]\neps = 1").find("unknown key of sgd (plugin optimizer_fake)") !=
        std::string::npos);
  CHECK(
      problem("[optimizer.phi]\nmomentum = 2\ntype = 'sgd'") ==
      "x:13:12: optimizer.phi.momentum: expected a number in 0..1, got 2 (an integer); it is an option of sgd (plugin "
      "optimizer_fake)");
  CHECK(problem("[optimizer.phi]\ngrouping = 'joint'").find("optimizer.phi.grouping: unknown key") !=
        std::string::npos);
  CHECK(problem("[optimizer.phi]\ntype = 'sdg'").find("optimizer.phi.type: no optimizer 'sdg'") != std::string::npos);
  CHECK(problem("[optimizer.phi.theta]\neps = 1").find("optimizer.phi.theta: unknown key") != std::string::npos);
  CHECK(problem("phi = 3").find("optimizer.phi: unknown key of adamw") != std::string::npos);
}

TEST_CASE("modules' tables survive a change of the type in the table above them") {
  const TemporaryFolder folder;
  folder.write("base.toml", std::string(kSmallExperiment) +
                                "[optimizer]\ntype = 'adamw'\nbetas = [0.5, 0.5]\nlearning_rate = 0.5\n"
                                "[optimizer.phi]\ntype = 'adamw'\neps = 0.1\nclip_norm = 3\n");
  folder.write("over.toml", "include = 'base.toml'\n[optimizer]\ntype = 'sgd'\n[optimizer.phi]\ntype = 'sgd'\n");
  const Value resolved =
      resolve(load_document("over.toml", {"optimizer.phi.momentum=0.5"}), schema_of<Experiment>(), fake_catalog());
  const OptimizerOptions options = read_options<Experiment>(resolved).optimizer;
  CHECK(options.component.type == "optimizer_fake/sgd");
  CHECK(options.learning_rate == 0.5);
  CHECK(options.of("phi").component.type == "optimizer_fake/sgd");
  CHECK(options.of("phi").clip_norm == 3);
  CHECK(*options.of("phi").component.table.find("momentum") == Value(0.5));
}
