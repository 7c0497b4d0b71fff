#include "framework/config/resolve.h"

#include <doctest/doctest.h>

#include <ctime>
#include <limits>

#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/json_schema.h"
#include "framework/config/overrides.h"
#include "framework/config/starter.h"
#include "support.h"

using namespace casdm;
using casdm::testing::fake_catalog;
using casdm::testing::kSmallExperiment;
using casdm::testing::LoopCatalog;
using casdm::testing::message_of;
using casdm::testing::small_experiment;
using casdm::testing::TemporaryFolder;

namespace {

Value component(std::string_view kind, const std::string& toml) {
  return resolve_component(parse_document(toml, "x", std::filesystem::current_path()), kind, fake_catalog());
}

/// The problem with a `unet` that has one more line.
std::string unet_problem(const std::string& line) {
  return message_of<ConfigError>([&] { component("backbone", "type = 'unet'\n" + line); });
}

}  // namespace

TEST_CASE("defaults are filled in, names completed, numbers in their plain form") {
  const Value unet = component("backbone", "type = 'unet'\ndropout = 1\nchannel_mult = [1, 4]\n");
  CHECK(*unet.find("type") == Value("backbone_fake/unet"));
  CHECK(*unet.find("channels") == Value(64));
  CHECK(*unet.find("dropout") == Value(1.0));
  CHECK(*unet.find("channel_mult") == Value(Value::Array{1, 4}));
  CHECK(*unet.find("weights") == Value(""));
  CHECK(unet.find("num_heads") == nullptr);
  CHECK(*component("dataset", "type = 'shapes'\nnum_images = '1.5k'").find("num_images") == Value(1500));
}

TEST_CASE("a table's own default applies to what is left out of it") {
  const Value head = component("cascade_head", "type = 'cascade'\ntheta = { type = 'unet' }\nweights = { eps = 3 }");
  CHECK(*head.find("weights") == Value(Value::Table{{"eps", 3.0}, {"x0", 2.0}}));
  CHECK(*component("cascade_head", "type = 'cascade'\ntheta = { type = 'unet' }").find("weights") ==
        Value(Value::Table{{"eps", 1.0}, {"x0", 2.0}}));
  CHECK(head.find("phi") == nullptr);
}

TEST_CASE("each wrong value is described by location, key, what is expected and what was found") {
  CHECK(unet_problem("channels = '64'") ==
        "x:2:12: channels: expected an integer in 1..4096, got \"64\" (a string); it is an option of unet (plugin "
        "backbone_fake)");
  CHECK(unet_problem("channels = 0") ==
        "x:2:12: channels: expected an integer in 1..4096, got 0 (an integer); it is an option of unet (plugin "
        "backbone_fake)");
  CHECK(unet_problem("channels = 1.0") ==
        "x:2:12: channels: expected an integer in 1..4096, got 1.0 (a float); it is an option of unet (plugin "
        "backbone_fake)");
  CHECK(unet_problem("dropout = true") ==
        "x:2:11: dropout: expected a number in 0..1, got true (a boolean); it is an option of unet (plugin "
        "backbone_fake)");
  CHECK(unet_problem("dropout = nan") ==
        "x:2:11: dropout: expected a number in 0..1, got nan (a float); it must be finite; it is an option of unet "
        "(plugin backbone_fake)");
  CHECK(unet_problem("dropout = [0]") ==
        "x:2:11: dropout: expected a number in 0..1, got an array; it is an option of unet (plugin backbone_fake)");
  CHECK(unet_problem("num_heads = 0") ==
        "x:2:13: num_heads: expected an integer greater than 0, got 0 (an integer); it is an option of unet (plugin "
        "backbone_fake)");
  CHECK(unet_problem("order = 'legcy'") ==
        "x:2:9: order: expected one of \"legacy\", \"new\", got \"legcy\" (a string); did you mean \"legacy\"? It is "
        "an option of unet (plugin backbone_fake)");
  CHECK(unet_problem("weights = 5") ==
        "x:2:11: weights: expected a path (a string), got 5 (an integer); in quotes it is one; it is an option "
        "of unet (plugin backbone_fake)");
  CHECK(unet_problem("channel_mult = 2") ==
        "x:2:16: channel_mult: expected an array of elements, each an integer of at least 1, got 2 (an integer); it is "
        "an option of unet (plugin backbone_fake)");
  CHECK(unet_problem("channel_mult = [1, 0]") ==
        "x:2:20: channel_mult.1: expected an integer of at least 1, got 0 (an integer); it is an option of unet "
        "(plugin backbone_fake)");
  CHECK(message_of<ConfigError>([] { component("dataset", "type = 'shapes'\nnum_images = '10q'"); }) ==
        "x:2:14: num_images: expected a whole number of at least 1, also as \"200k\" or \"1.5M\", got \"10q\" (a "
        "string); it is an option of shapes (plugin dataset_fake)");
  CHECK(message_of<ConfigError>([] { small_experiment("[optimizer]\nbetas = [0.9]"); }) ==
        "x:12:9: optimizer.betas: expected an array of 2 elements, each a number of at least 0 and less than 1, got 1 "
        "element; it is an option of adamw (plugin optimizer_fake)");
  CHECK(message_of<ConfigError>([] { small_experiment("train = 3"); }) ==
        "x:11:9: sampler.train: unknown key of ddim (plugin sampler_fake); known are type, num_inference_steps, "
        "respacing");
  CHECK(message_of<ConfigError>([] { small_experiment("[[train]]\nbatch_size = 3"); }) ==
        "x:11:1: train: expected a table, got an array");
  CHECK(message_of<ConfigError>([] { small_experiment("[metrics]\ntype = 'l1'"); }) ==
        "x:11:1: metrics: expected an array of tables, got a table");
}

TEST_CASE("numbers that are not finite, and those at an open end of a range, are refused") {
  const auto optimizer = [](const std::string& line) {
    return message_of<ConfigError>([&] { small_experiment("[optimizer]\n" + line); });
  };
  CHECK(optimizer("clip_norm = inf") ==
        "x:12:13: optimizer.clip_norm: expected a number of at least 0, got inf (a float); it must be finite");
  CHECK(optimizer("learning_rate = inf").find("it must be finite") != std::string::npos);
  CHECK(optimizer("learning_rate = 1e400") != "nothing thrown");
  CHECK(optimizer("learning_rate = 1.7976931348623157e308") == "nothing thrown");
  CHECK(optimizer("betas = [0.9, 1]") ==
        "x:12:15: optimizer.betas.1: expected a number of at least 0 and less than 1, got 1 (an integer); it is an "
        "option of adamw (plugin optimizer_fake)");
  CHECK(
      optimizer("clip_norm = 9007199254740993") ==
      "x:12:13: optimizer.clip_norm: expected a number of at least 0, got 9007199254740993 (an integer); such integers "
      "have no float of the same value, so write a float");
  CHECK(optimizer("clip_norm = 9007199254740992") == "nothing thrown");
  CHECK(message_of<ConfigError>([] { small_experiment("[guidance]\nscale = nan"); }).find("it must be finite") !=
        std::string::npos);
  CHECK(message_of<ConfigError>([] { small_experiment("[run]\nseed = 9223372036854775808"); }) != "nothing thrown");
  CHECK(*small_experiment("[run]\nseed = 9223372036854775807").find("run")->find("seed") ==
        Value(std::numeric_limits<std::int64_t>::max()));
}

TEST_CASE("a value from JSON is refused with its key") {
  Value document = from_json(to_json(parse_document(kSmallExperiment, "x", std::filesystem::current_path())));
  document.set("optimizer", from_json(R"({"clip_norm":null})"));
  CHECK(message_of<ConfigError>([&] { resolve(document, schema_of<Experiment>(), fake_catalog()); }) ==
        "optimizer.clip_norm: expected a number of at least 0, got nothing");
  document.set("optimizer", Value(Value::Table{}));
  apply_overrides(document, {"run.precision=fp31", "init[0].module=theta", "init[0].from=here"});
  CHECK(message_of<ConfigError>([&] {
          resolve(document, schema_of<Experiment>(), fake_catalog());
        }).starts_with("--set run.precision=fp31: run.precision: expected one of"));
  apply_overrides(document, {"run.precision=fp32"});
  const Value resolved = resolve(document, schema_of<Experiment>(), fake_catalog());
  CHECK(resolved.find("init")->as_array()[0].find("from")->as_string() ==
        (std::filesystem::current_path() / "here").string());
}

TEST_CASE("an integer may be one of a few") {
  CHECK(message_of<ConfigError>([] { component("dataset", "type = 'shapes'\nchannels = 2"); }) != "nothing thrown");
  Value document = parse_document(kSmallExperiment, "x", std::filesystem::current_path());
  document.find("data")->set("channels", 2);
  CHECK(message_of<ConfigError>([&] { resolve(document, schema_of<Experiment>(), fake_catalog()); }) ==
        "expected one of 1, 3, got 2 (an integer)");
}

TEST_CASE("a run's name is one component of a path") {
  const auto named = [](const std::string& name) {
    return message_of<ConfigError>([&] { small_experiment("[run]\nname = " + name); });
  };
  for (const char* bad :
       {"''", "'.'", "'..'", "'../x'", "'a/b'", "'/a'", "'.tmp-1'", R"("a\u0000b")", R"("\u001b[2J")"}) {
    CAPTURE(bad);
    CHECK(named(bad).find("run.name: expected a name for a file or folder") != std::string::npos);
  }
  CHECK(named("'" + std::string(201, 'a') + "'") != "nothing thrown");
  for (const char* good : {"'a'", "'...'", "'a.b c'", "'\u00e9'"}) CHECK(named(good) == "nothing thrown");
}

TEST_CASE("unknown keys are reported with the nearest name and the owner") {
  CHECK(unet_problem("chanels = 3") ==
        "x:2:11: chanels: unknown key of unet (plugin backbone_fake); did you mean "
        "'channels'?");
  CHECK(unet_problem("zzzzzzzz = 3") ==
        "x:2:12: zzzzzzzz: unknown key of unet (plugin backbone_fake); known are type, channels, channel_mult, order, "
        "dropout, weights, num_heads");
  CHECK(message_of<ConfigError>([] { small_experiment("[train]\nbatchsize = 3"); }) ==
        "x:12:13: train.batchsize: unknown key of [train]; did you mean 'batch_size'?");
  CHECK(message_of<ConfigError>([] { small_experiment("[[metrics]]\ntype = 'l1'\nwieght = 3"); }) ==
        "x:13:10: metrics.0.wieght: unknown key of l1 (plugin metric_loss_fake) and of [[metrics]]; did you mean "
        "'weight'?");
  CHECK(message_of<ConfigError>([] { small_experiment("[trian]"); }) ==
        "x:11:1: trian: unknown key of an experiment; did you mean 'train'?");
}

TEST_CASE("in the tables of a component, errors in keys and values also name the component") {
  const auto problem = [](const std::string& weights) {
    return message_of<ConfigError>(
        [&] { component("cascade_head", "type = 'cascade'\ntheta = { type = 'unet' }\nweights = " + weights); });
  };
  CHECK(problem("{ esp = 1 }") ==
        "x:3:19: weights.esp: unknown key of [weights] of cascade (plugin cascade_head_fake); did you mean 'eps'?");
  CHECK(problem("{ eps = -1 }") ==
        "x:3:19: weights.eps: expected a number of at least 0, got -1 (an integer); it is an option of cascade (plugin "
        "cascade_head_fake)");
  CHECK(problem("3") ==
        "x:3:11: weights: expected a table, got 3 (an integer); it is an option of cascade (plugin cascade_head_fake)");
  // The host's keys in the table of a component belong to the host.
  CHECK(message_of<ConfigError>([] { small_experiment("[[metrics]]\ntype = 'lpips'\nweight = -1"); }) ==
        "x:13:10: metrics.0.weight: expected a number of at least 0, got -1 (an integer)");
  CHECK(message_of<ConfigError>([] { small_experiment("[[metrics]]\ntype = 'l1'\nt_range = [0, 2]"); }) ==
        "x:13:15: metrics.0.t_range.1: expected a number in 0..1, got 2 (an integer)");
}

TEST_CASE("in a file, the location of an unknown key is that of the key itself") {
  const TemporaryFolder folder;
  folder.write("configs/x.toml", "type = \"unet\"\n  chanels = 3\n");
  const Value document = load_document("configs/x.toml");
  CHECK(message_of<ConfigError>([&] { resolve_component(document, "backbone", fake_catalog()); }) ==
        "configs/x.toml:2:3: chanels: unknown key of unet (plugin backbone_fake); did you mean 'channels'?");
}

TEST_CASE("messages about missing keys and types say what is needed") {
  CHECK(message_of<ConfigError>([] { component("dataset", "type = 'zip'"); }) ==
        "x:1:1: path: missing; zip (plugin dataset_fake) needs it: a path (a string)");
  CHECK(message_of<ConfigError>([] { component("cascade_head", "type = 'cascade'"); }) ==
        "x:1:1: theta: missing; cascade (plugin cascade_head_fake) needs it: a table that chooses a backbone by "
        "`type`: unet");
  CHECK(message_of<ConfigError>([] { component("dataset", "num_images = 3"); }) ==
        "x:1:1: `type` is missing; it chooses the dataset: zip, shapes");
  CHECK(message_of<ConfigError>([] { component("dataset", "type = 3"); }) ==
        "x:1:8: type: expected a string, got 3 (an integer)");
  CHECK(message_of<ConfigError>([] { component("sampler", "type = 'ddmi'"); }) ==
        "x:1:8: type: no sampler 'ddmi'\n    looked nowhere");
}

TEST_CASE("all problems are listed in one pass, in the order of the file") {
  CHECK(message_of<ConfigError>([] {
          small_experiment(
              "[[metrics]]\nweight = -1\n[train]\nbatch_size = '64'\n[[init]]\nfreeze = 1\n[head.phi]\ntype = 'dit'\n");
        }) ==
        "7 problems:\n"
        "  1. x:11:1: metrics.0: `type` is missing; it chooses the metric_loss: l1, lpips, sum\n"
        "  2. x:12:10: metrics.0.weight: expected a number of at least 0, got -1 (an integer)\n"
        "  3. x:14:14: train.batch_size: expected an integer in 1..1048576, got \"64\" (a string)\n"
        "  4. x:15:1: init.0.module: missing; [[init]] needs it: a string\n"
        "  5. x:15:1: init.0.from: missing; [[init]] needs it: a path (a string)\n"
        "  6. x:16:10: init.0.freeze: expected true or false, got 1 (an integer)\n"
        "  7. x:18:8: head.phi.type: no backbone 'dit'\n"
        "    looked nowhere");
}

TEST_CASE("the location of an override is its own text") {
  const TemporaryFolder folder;
  folder.write("x.toml", kSmallExperiment);
  const Value document = load_document("x.toml", {"train.batch_size=x"});
  CHECK(message_of<ConfigError>([&] { resolve(document, schema_of<Experiment>(), fake_catalog()); }) ==
        "--set train.batch_size=x: train.batch_size: expected an integer in 1..1048576, got \"x\" (a string)");
  // On one line, whatever it holds.
  const Value broken = load_document("x.toml", {"run.name=new\nline"});
  const std::string message =
      message_of<ConfigError>([&] { resolve(broken, schema_of<Experiment>(), fake_catalog()); });
  CHECK_MESSAGE(message.starts_with("--set \"run.name=new\\nline\": run.name: expected a name"), message);
}

TEST_CASE("a pattern is matched in little time, however many ways there are through it") {
  for (const char* pattern : {"(a|a)*b", "(a*)*b", "(a|aa)+b", "((a?)+)+b"}) {
    OptionSpec option;
    option.name = "order";
    option.pattern = pattern;
    const LoopCatalog catalog({option});
    const std::clock_t begin = std::clock();
    for (const std::size_t length : {10, 25, 200}) {
      const std::string as(length, 'a');
      const auto give = [&](const std::string& order) {
        return message_of<ConfigError>([&] {
          resolve_component(Value(Value::Table{{"type", "loop"}, {"order", order}}), "metric_loss", catalog);
        });
      };
      CHECK(give(as).find("expected a string of the form") != std::string::npos);
      CHECK(give(as.substr(1) + "b") == "nothing thrown");
      REQUIRE(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 1);
    }
  }
}

TEST_CASE("components nest, in tables and in arrays of tables") {
  const Value root = small_experiment(
      "[[metrics]]\ntype = 'sum'\nweight = 2\n"
      "[[metrics.parts]]\ntype = 'lpips'\nnet = 'alexnet'\n"
      "[[metrics.parts]]\ntype = 'sum'\nfactor = 3\nparts = [{ type = 'l1' }]\n");
  const Experiment options = read_options<Experiment>(root);
  REQUIRE(options.metrics.size() == 1);
  CHECK(options.metrics[0].weight == 2);
  CHECK(options.metrics[0].metric.type == "metric_loss_fake/sum");
  const Value& parts = *options.metrics[0].metric.table.find("parts");
  CHECK(*parts.as_array()[0].find("net") == Value("alexnet"));
  CHECK(*parts.as_array()[0].find("factor") == Value(1.0));
  CHECK(*parts.as_array()[1].find("parts")->as_array()[0].find("type") == Value("metric_loss_fake/l1"));
  CHECK(message_of<ConfigError>([] {
          small_experiment(
              "[[metrics]]\ntype = 'sum'\nparts = [{ type = 'sum', parts = [{ type = 'lpips', nett = 1 }] }]");
        }) ==
        "x:13:60: metrics.0.parts.0.parts.0.nett: unknown key of lpips (plugin metric_loss_fake) and of "
        "[[metrics.0.parts.0.parts]] of sum (plugin metric_loss_fake); did you mean 'net'?");
}

TEST_CASE("a component that holds itself by default is reported as the plugin's fault") {
  for (const char* name : {"loop", "loop_fake/loop", ""}) {
    OptionSpec inner;
    inner.name = "inner";
    inner.type = OptionType::table;
    inner.component_kind = "metric_loss";
    inner.default_value = Value(Value::Table{{"type", name}});
    OptionSpec second = inner;
    second.name = "second";
    const LoopCatalog catalog({inner, second});
    const std::string message = message_of<ConfigError>([&] {
      resolve_component(parse_document("type = 'loop'", "x", std::filesystem::current_path()), "metric_loss", catalog);
    });
    CHECK_MESSAGE(message.find("inner: the option 'inner' of loop (plugin loop_fake) chooses a metric_loss where 16 "
                               "components are already inside one another") != std::string::npos,
                  message);
    CHECK_MESSAGE(message.starts_with("x:1:1: inner.inner."), message);
  }
}

TEST_CASE("components nest to a limit, which names the array that exceeds it") {
  const auto resolves = [](int depth) {
    std::string toml = "{ type = 'l1' }";
    for (int i = 1; i < depth - 1; ++i) toml = "{ type = 'sum', parts = [" + toml + "] }";
    component("metric_loss", "type = 'sum'\nparts = [" + toml + "]");
  };
  resolves(16);
  const std::string message = message_of<ConfigError>([&] { resolves(17); });
  CHECK_MESSAGE(message.find("the option 'parts' of sum (plugin metric_loss_fake) chooses a metric_loss where 16 "
                             "components are already") != std::string::npos,
                message);
}

TEST_CASE("a component that takes a key of the host is reported as the plugin's fault") {
  CHECK(message_of<ConfigError>([] { small_experiment("[[metrics]]\ntype = 'colliding'"); }) ==
        "x:12:8: metrics.0.type: plugin metric_loss_fake is at fault: colliding declares the option 'weight', which is "
        "a key of the host in this table; the plugin must rename it");
}

TEST_CASE("paths become absolute, except run.directory and defaults") {
  const TemporaryFolder folder;
  folder.write("configs/x.toml", std::string(kSmallExperiment) +
                                     "[run]\ndirectory = 'out'\n[[init]]\nmodule = 'theta'\nfrom = '../runs/a'\n"
                                     "[plugins]\npaths = ['mine']\n");
  const Value root = resolve(load_document("configs/x.toml"), schema_of<Experiment>(), fake_catalog());
  const Experiment options = read_options<Experiment>(root);
  CHECK(options.run.directory == "out");
  CHECK(options.init.at(0).from == folder.path() / "runs/a");
  CHECK(options.plugins.paths.at(0) == folder.path() / "configs/mine");
  CHECK(read_options<Experiment>(small_experiment("")).run.directory == "runs");
}

TEST_CASE("a resolved experiment, saved and read again, resolves to itself") {
  const TemporaryFolder folder;
  const Value root = small_experiment("[[metrics]]\ntype = 'lpips'\n[train]\ntotal_images = '10k'\n");
  folder.write("run/config.toml", to_toml(root));
  CHECK(resolve(load_document("run/config.toml"), schema_of<Experiment>(), fake_catalog()) == root);
}

TEST_CASE("a starter experiment is complete and valid, whatever is chosen") {
  const OptionSchema schema = schema_of<Experiment>();
  const auto resolved = [&](const std::map<std::string, std::string>& chosen) {
    const std::string toml = starter_experiment(schema, fake_catalog(), chosen);
    CAPTURE(toml);
    return resolve(parse_document(toml, "x", std::filesystem::current_path()), schema, fake_catalog());
  };
  const Value plain = resolved({});
  CHECK(*plain.find("data")->find("type") == Value("dataset_fake/shapes"));
  REQUIRE(plain.find("metrics")->as_array().size() == 1);
  // Of several metrics the recommended one, which is neither the first nor the simplest.
  CHECK(*plain.find("metrics")->as_array()[0].find("type") == Value("metric_loss_fake/lpips"));
  CHECK(*resolved({{"data", "zip"}}).find("data")->find("type") == Value("dataset_fake/zip"));
  // Optional components are shown as comments unless chosen.
  CHECK(plain.find("head")->find("phi") == nullptr);
  CHECK(*resolved({{"head.phi", "unet"}}).find("head")->find("phi")->find("type") == Value("backbone_fake/unet"));
  CHECK(*resolved({{"metrics", "sum"}}).find("metrics")->as_array()[0].find("parts")->as_array()[0].find("type") ==
        Value("metric_loss_fake/lpips"));
  CHECK(message_of<ConfigError>([&] {
          resolved({{"haed", "cascade"}});
        }) == "haed: no table of this experiment chooses a component there");
}

TEST_CASE("a starter experiment shows a component that holds itself once, and as often as it was chosen") {
  OptionSpec inner;
  inner.name = "inner";
  inner.type = OptionType::table;
  inner.component_kind = "metric_loss";
  const LoopCatalog catalog({inner});
  OptionSpec outer = inner;
  outer.name = "metric";
  CHECK(starter_experiment({outer}, catalog, {}).find("[metric.inner.inner") == std::string::npos);
  const std::string chosen = starter_experiment({outer}, catalog,
                                                {{"metric", "loop"},
                                                 {"metric.inner", "loop"},
                                                 {"metric.inner.inner", "loop"},
                                                 {"metric.inner.inner.inner", "loop"}});
  CHECK_MESSAGE(chosen.find("\n[metric.inner.inner.inner]\n") != std::string::npos, chosen);
}
