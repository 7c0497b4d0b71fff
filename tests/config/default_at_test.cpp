#include "framework/config/default_at.h"

#include <doctest/doctest.h>

#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"

#include "framework/training/experiment_change.h"
#include "support.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

Value document(const std::string& more) {
  return parse_document(kSmallExperiment + more, "x", std::filesystem::current_path());
}

Value resolved(const std::string& more) {
  return checked_experiment(document(more), schema_of<Experiment>(), fake_catalog());
}

}  // namespace

TEST_CASE("everything that resolving adds to an experiment is a default") {
  const std::string more =
      "[optimizer]\ntype = \"sgd\"\n[optimizer.theta]\nlearning_rate = 0.5\n"
      "[[metrics]]\ntype = \"l1\"\n[[ema.also]]\nname = \"p\"\ndecay = 0.5\n";
  int added = 0;
  for (const std::string& content : {std::string(), more}) {
    const Value experiment = resolved(content);
    for (const ExperimentChange& change : changes(document(content), experiment)) {
      if (!change.before.is_null()) continue;
      ++added;
      CHECK_MESSAGE(is_default_at(change.key, change.after, experiment, fake_catalog()), change.key);
      CHECK_MESSAGE(is_new_default(change, experiment, fake_catalog()), change.key);
    }
  }
  CHECK(added > 40);
}

TEST_CASE("what somebody has set is no default, nor is what the catalog does not know") {
  const Value experiment = resolved("[optimizer.theta]\nlearning_rate = 0.5\n[[metrics]]\ntype = \"l1\"\n");
  const auto is_default = [&](const std::string& key, const Value& value) {
    return is_default_at(key, value, experiment, fake_catalog());
  };
  CHECK(is_default("head.theta.channels", 64));
  CHECK(is_default("head.theta.dropout", 0));
  CHECK_FALSE(is_default("head.theta.channels", 65));
  CHECK_FALSE(is_default("head.theta.num_heads", 4));  // it has none
  CHECK_FALSE(is_default("head.theta.nothing", 4));
  CHECK_FALSE(is_default("metrics[0].noise_range", Value::Array{0.0, 1.0}));
  CHECK(is_default("optimizer.learning_rate", 1e-4));
  // A module's table has the values of the outer one by not having the key.
  CHECK_FALSE(is_default("optimizer.theta.learning_rate", 1e-4));
  CHECK_FALSE(is_default("optimizer.theta", *experiment.find("optimizer")->find("theta")));
  CHECK(is_default("optimizer.type", "optimizer_fake/adamw"));
  CHECK_FALSE(is_default("optimizer.type", "optimizer_fake/sgd"));
  CHECK_FALSE(is_default("metrics", *experiment.find("metrics")));
  CHECK(is_default("metrics", Value::Array()));
  Value unknown = experiment;
  unknown.find("head")->find("theta")->set("type", "gone/gone");
  CHECK_FALSE(is_default_at("head.theta.channels", 64, unknown, fake_catalog()));
  CHECK(is_default_at("optimizer.clip_norm", 1, unknown, fake_catalog()));
}
