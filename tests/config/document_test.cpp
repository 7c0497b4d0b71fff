#include "framework/config/document.h"

#include <doctest/doctest.h>

#include <iostream>
#include <limits>
#include <random>
#include <sstream>

#include "framework/config/key_path.h"
#include "framework/config/parse_toml.h"
#include "support.h"

using namespace casdm;
using casdm::testing::message_of;
using casdm::testing::TemporaryFolder;

namespace {

Value at(const Value& root, const std::string& path) {
  const Value* value = &root;
  for (const auto& [name, in_brackets] : split_key_path(path)) {
    value = value->is_array() ? &value->as_array().at(*index_of(name)) : value->find(name);
    REQUIRE_MESSAGE(value != nullptr, path);
  }
  return *value;
}

std::string place_of(const Value& root, const std::string& path) {
  const Location location = at(root, path).location();
  return to_string(location) + " " + location.key;
}

}  // namespace

TEST_CASE("a key path is at or below another by whole parts") {
  for (const char* below : {"head.theta", "head.theta.channels", "head.theta[0]"}) {
    CHECK(is_at_or_below(below, "head.theta"));
  }
  for (const char* beside : {"head", "head.theta2", "head.phi", ""}) CHECK_FALSE(is_at_or_below(beside, "head.theta"));
}

TEST_CASE("values carry file, line, column and key path, and keys keep their order") {
  const TemporaryFolder folder;
  folder.write("x.toml", "zeta = 1\nalpha = 'a'\n[b]\n  list = [1.5, true]\n[[c]]\nd = { e = 2 }\n");
  const Value root = load_document("x.toml");
  CHECK(place_of(root, "zeta") == "x.toml:1:8 zeta");
  CHECK(place_of(root, "alpha") == "x.toml:2:9 alpha");
  CHECK(place_of(root, "b") == "x.toml:3:1 b");
  CHECK(place_of(root, "b.list[1]") == "x.toml:4:16 b.list.1");
  CHECK(place_of(root, "c[0].d.e") == "x.toml:6:11 c.0.d.e");
  CHECK(root.as_table().front().first == "zeta");
  CHECK(at(root, "b.list.0") == Value(1.5));
}

TEST_CASE("the location of a key is found in addition to that of its value") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[head.theta]\n  chanels = 3\nlist = [ { k = 1 } ]\n");
  const Value root = load_document("x.toml");
  CHECK(to_string(KeyFinder().location(at(root, "head.theta.chanels").location())) == "x.toml:2:3");
  CHECK(to_string(KeyFinder().location(at(root, "head.theta").location())) == "x.toml:1:7");
  CHECK(to_string(KeyFinder().location(at(root, "head.theta.list[0].k").location())) == "x.toml:3:12");
  const Location gone{"gone.toml", 2, 13, "head.theta.chanels"};
  CHECK(to_string(KeyFinder().location(gone)) == "gone.toml:2:13");
  folder.write("x.toml", "\n[head.theta]\n  chanels = 3\n");
  CHECK(to_string(KeyFinder().location(at(root, "head.theta.chanels").location())) == "x.toml:2:13");
  folder.write("x.toml", "[head.theta]\n    chanels = 3\n");
  CHECK(to_string(KeyFinder().location(at(root, "head.theta.chanels").location())) == "x.toml:2:13");
}

TEST_CASE("included files are merged in order, the file itself last") {
  const TemporaryFolder folder;
  folder.write("base/a.toml",
               "[train]\nbatch_size = 1\nkept = 1\n[[metrics]]\ntype = 'l1'\n[[metrics]]\ntype = 'l2'\n");
  folder.write("base/b.toml", "include = 'c.toml'\n[train]\nbatch_size = 2\n");
  folder.write("base/c.toml", "[train]\nbatch_size = 3\nfrom_c = true\n");
  folder.write("x.toml", "include = ['base/a.toml', 'base/b.toml']\n[[metrics]]\ntype = 'ssim'\n");
  const Value root = load_document("x.toml");
  CHECK(root.find("include") == nullptr);
  CHECK(place_of(root, "train.batch_size") == "base/b.toml:3:14 train.batch_size");
  CHECK(at(root, "train.kept") == Value(1));
  CHECK(place_of(root, "train.from_c") == "base/c.toml:3:10 train.from_c");
  CHECK(at(root, "metrics").as_array().size() == 1);
}

TEST_CASE("a table whose type changes loses the old component's keys and keeps the host's") {
  const TemporaryFolder folder;
  folder.write("base.toml",
               "[data]\ntype = 'zip'\npath = 'x.zip'\nimage_size = 16\n"
               "[head]\ntype = 'cascade'\n[head.theta]\ntype = 'backbone_unet/unet'\nchannels = 8\n"
               "[noise]\ntype = 'linear'\nbeta_start = 0.1\n");
  folder.write(
      "x.toml",
      "include = 'base.toml'\n[data]\ntype = 'shapes'\n[head.theta]\ntype = 'unet'\n[noise]\ntype = 'cosine'\n");
  const Value root = load_document("x.toml");
  CHECK(at(root, "data").find("path") == nullptr);
  CHECK(at(root, "data.image_size") == Value(16));
  CHECK(at(root, "noise").as_table().size() == 1);
  CHECK(at(root, "head.theta.channels") == Value(8));  // one component, named in two ways
}

TEST_CASE("include errors name the files and what includes them") {
  const TemporaryFolder folder;
  folder.write("a.toml", "include = 'b.toml'\n");
  folder.write("b.toml", "\ninclude = ['c.toml']\n");
  folder.write("c.toml", "include = 'a.toml'\n");
  CHECK(message_of<ConfigError>([] { load_document("a.toml"); }) ==
        "c.toml:1:11: include: files include each other: a.toml -> b.toml -> c.toml -> a.toml");
  folder.write("d.toml", "include = ['base/emoij.toml']\n");
  folder.write("base/emoji.toml", "");
  CHECK(message_of<ConfigError>([] { load_document("d.toml"); }) ==
        "d.toml:1:12: include.0: base/emoij.toml cannot be read: No such file or directory; did you mean "
        "'base/emoji.toml'?");
  folder.write("e.toml", "include = 3\n");
  CHECK(message_of<ConfigError>([] { load_document("e.toml"); }) ==
        "e.toml:1:11: include: expected a file name or an array of them, got integer");
  folder.write("f.toml", "include = ['']\n");
  CHECK(message_of<ConfigError>([] { load_document("f.toml"); }) ==
        "f.toml:1:12: include.0: expected the name of a file, got \"\"");
  CHECK(message_of<ConfigError>([] { load_document("quite_another.toml"); }) ==
        "quite_another.toml cannot be read: No such file or directory");
  CHECK(message_of<ConfigError>([] { load_document("base"); }) == "base is a folder, not an experiment file");
}

TEST_CASE("a file may be included twice if it does not include itself") {
  const TemporaryFolder folder;
  folder.write("a.toml", "[train]\nx = 1\n");
  folder.write("b.toml", "include = 'a.toml'\n");
  folder.write("c.toml", "include = ['a.toml', 'b.toml', './a.toml']\n");
  CHECK(at(load_document("c.toml"), "train.x") == Value(1));
}

TEST_CASE("syntax errors and dates are reported with their location") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[train]\nbatch_size = = 3\n");
  CHECK(message_of<ConfigError>([] { load_document("x.toml"); }).starts_with("x.toml:2:14: not valid TOML: "));
  folder.write("y.toml", "[run]\nname = 2024-01-01\n");
  CHECK(message_of<ConfigError>([] { load_document("y.toml"); }) ==
        "y.toml:2:8: run.name: dates and times are not supported; for a string, use quotes");
}

TEST_CASE("overrides are parsed as TOML, or else taken as bare strings") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[train]\nbatch_size = 64\n[[metrics]]\ntype = 'l1'\nweight = 0.5\n");
  const Value root = load_document(
      "x.toml", {"train.batch_size=8", "train.total_images = 10k", "metrics[0].weight=1e-1", "data.path=~/a b.zip",
                 "run.name='x # y'", "run.note=5#x", "head.mult=[1, 2]", "run.day=2024-01-01", "ema.warmup=true",
                 "a.t={ b = 1 }", "a.list=[ # of numbers\n1\n]"});
  CHECK(at(root, "train.batch_size") == Value(8));
  CHECK(at(root, "train.total_images") == Value("10k"));
  CHECK(at(root, "metrics.0.weight") == Value(0.1));
  CHECK(at(root, "metrics.0.type") == Value("l1"));
  CHECK(at(root, "data.path") == Value("~/a b.zip"));
  CHECK(at(root, "run.name") == Value("x # y"));
  CHECK(at(root, "run.note") == Value("5#x"));
  CHECK(at(root, "a.list") == Value(Value::Array{1}));
  CHECK(at(root, "head.mult") == Value(Value::Array{1, 2}));
  CHECK(at(root, "run.day") == Value("2024-01-01"));
  CHECK(at(root, "ema.warmup") == Value(true));
  CHECK(place_of(root, "train.batch_size") == "--set train.batch_size=8 train.batch_size");
  CHECK(place_of(root, "a.t.b") == "--set a.t={ b = 1 } a.t.b");
}

TEST_CASE("overriding a type drops the old component's keys, in whatever order") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[[metrics]]\ntype = 'lpips'\nweight = 0.5\nnet = 'alexnet'\n");
  const Value root = load_document("x.toml", {"metrics.0.profile=p", "metrics.0.type=l1", "metrics.1.type=ssim"});
  CHECK(at(root, "metrics.0").find("net") == nullptr);
  CHECK(at(root, "metrics.0.weight") == Value(0.5));
  CHECK(at(root, "metrics.0.profile") == Value("p"));
  CHECK(at(root, "metrics.1.type") == Value("ssim"));
}

TEST_CASE("a type given after a whole component or array is kept, and so are the host's keys") {
  const TemporaryFolder folder;
  folder.write("x.toml",
               "[optimizer]\ntype = 'adamw'\n[optimizer.phi]\ntype = 'sgd'\nmomentum = 0.5\n"
               "learning_rate = 0.1\n[[metrics]]\ntype = 'ssim'\n");
  const auto load = [](const std::vector<std::string>& overrides) { return load_document("x.toml", overrides); };
  Value root = load({"optimizer={learning_rate=0.003, eps=1e-3}", "optimizer.type=lion"});
  CHECK(at(root, "optimizer.type") == Value("lion"));
  CHECK(at(root, "optimizer.learning_rate") == Value(0.003));
  root = load({"metrics=[{type='l1', weight=0.5}]", "metrics[0].type=l2"});
  CHECK(at(root, "metrics.0.type") == Value("l2"));
  CHECK(at(root, "metrics.0.weight") == Value(0.5));
  root = load({"metrics=[]", "metrics[0].type=l2"});
  REQUIRE(root.find("metrics")->as_array().size() == 1);
  root = load({"metrics[1]={type='l2'}", "metrics[2].type=huber"});
  CHECK(at(root, "metrics.2.type") == Value("huber"));
  root = load({"optimizer.phi.type=muon"});
  CHECK(at(root, "optimizer.phi.learning_rate") == Value(0.1));
  CHECK(at(root, "optimizer.phi").find("momentum") == nullptr);
}

TEST_CASE("of two overrides of the same key the last one wins, and the other is named") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[train]\nbatch_size = 64\n");
  std::string said;
  const auto load = [&](const std::vector<std::string>& overrides) {
    std::ostringstream err;
    std::streambuf* const before = std::cerr.rdbuf(err.rdbuf());
    const Value root = load_document("x.toml", overrides);
    std::cerr.rdbuf(before);
    said = err.str();
    return root;
  };
  CHECK(at(load({"train.batch_size=8", "run.seed=1", "train.batch_size=16"}), "train.batch_size") == Value(16));
  CHECK(said == "warning: --set train.batch_size=8 has no effect: --set train.batch_size=16 comes after it\n");
  CHECK(load({"metrics[0].weight=2", "metrics.0.type=l1", "metrics=[]"}).find("metrics")->as_array().empty());
  CHECK(said.find("--set metrics[0].weight=2 has no effect: --set metrics=[]") != std::string::npos);
  load({"train.batch_size=8", "train.batch_size=8", "train.accumulate=2", "head.type=cascade", "head.theta.type=unet"});
  CHECK(said.empty());
}

TEST_CASE("malformed overrides are refused and quoted") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[train]\nbatch_size = 64\n[[metrics]]\ntype = 'l1'\n");
  const auto message = [](const std::string& override) {
    return message_of<ConfigError>([&] { load_document("x.toml", {override}); });
  };
  CHECK(message("train.batch_size") == "--set train.batch_size: expected KEY=VALUE, as in train.batch_size=64");
  for (const char* key : {"", ".", "a..b", "a.", "a[", "a[x]", "a[]", "a[0]b", "[0]", "\"a"}) {
    CHECK(message(std::string(key) + "=1") == std::string("--set ") + key +
                                                  "=1: the key before '=' is malformed; write it as in "
                                                  "train.batch_size or metrics[0].weight");
  }
  CHECK(
      message("metrics.2.weight=1") ==
      "--set metrics.2.weight=1: metrics.2.weight: 'metrics' is an array and has 1 element; expected an index up to 1, "
      "which appends, got \"2\"");
  CHECK(message("train.batch_size.x=1") ==
        "--set train.batch_size.x=1: train.batch_size.x: 'train.batch_size' is an integer, and has no key 'x'");
  CHECK(message("a.b=[1").starts_with("--set a.b=[1: a.b: not a valid TOML value: "));
  CHECK(message("a.b='c' # d") == "--set a.b='c' # d: a.b: not a valid TOML value: a comment follows the value");
  CHECK(message("a.b=[1] #") == "--set a.b=[1] #: a.b: not a valid TOML value: a comment follows the value");
  CHECK(message("include=y.toml") == "--set include=y.toml: `include` is only allowed in files");
}

TEST_CASE("an index in brackets creates a missing array") {
  const TemporaryFolder folder;
  folder.write("x.toml", "[head]\ntype = 'cascade'\n[train]\nbatch_size = 1\n");
  const Value root = load_document(
      "x.toml", {"metrics[0].type=st_lpips", "metrics[0].t_range[1]=0.7", "metrics[1].type=ssim", "ema.also[0].name=a",
                 "init[0].from=runs/a", "plugins.paths[0]=p", "head.parts[0].type=l1"});
  CHECK(at(root, "metrics").as_array().size() == 2);
  CHECK(at(root, "metrics.0.type") == Value("st_lpips"));
  CHECK(at(root, "metrics.0.t_range") == Value(Value::Array{0.0, 0.7}));
  CHECK(place_of(root, "metrics.0.t_range.1") == "--set metrics[0].t_range[1]=0.7 metrics.0.t_range.1");
  CHECK(at(root, "ema.also.0.name") == Value("a"));
  CHECK(at(root, "init.0.from") == Value("runs/a"));
  CHECK(at(root, "plugins.paths") == Value(Value::Array{"p"}));
  CHECK(at(root, "head.parts.0.type") == Value("l1"));
  CHECK(at(load_document("x.toml", {"metrics.0.type=l1"}), "metrics").is_array());
  CHECK(at(load_document("x.toml", {"guidance.interval[1]=0.7"}), "guidance.interval") ==
        Value(Value::Array{0.0, 0.7}));
  CHECK(at(load_document("x.toml", {"guidance.interval.0=0.5"}), "guidance.interval") == Value(Value::Array{0.5, 1.0}));

  const auto message = [](const std::string& override) {
    return message_of<ConfigError>([&] { load_document("x.toml", {override}); });
  };
  CHECK(
      message("metrics[1].type=l1") ==
      "--set metrics[1].type=l1: metrics.1.type: 'metrics' is an array and has no element yet; begin with metrics[0], "
      "got \"1\"");
  CHECK(message("head.theta.channel_mult[1]=4") ==
        "--set head.theta.channel_mult[1]=4: head.theta.channel_mult: it is not set, and only its plugin knows the "
        "default; set the whole array: head.theta.channel_mult=[...]");
  CHECK(message("train[0]=4") == "--set train[0]=4: train.0: 'train' is a table, and has no element [0]");
  CHECK(message("metrics[18446744073709551616].type=a").find("begin with metrics[0]") != std::string::npos);
}

TEST_CASE("paths are resolved against the file that contains them, or the working directory") {
  const TemporaryFolder folder;
  folder.write("configs/x.toml", "a = '../data/x.zip'\nb = '/abs/./y'\nc = ''\n");
  const Value root = load_document("configs/x.toml", {"d=here/z"});
  CHECK(absolute_path(at(root, "a")) == (folder.path() / "data/x.zip").string());
  CHECK(absolute_path(at(root, "b")) == "/abs/y");
  CHECK(absolute_path(at(root, "c")) == "");
  CHECK(absolute_path(at(root, "d")) == (folder.path() / "here/z").string());
  CHECK(absolute_path(Value("runs")) == "runs");
  const Value parsed = parse_document("a = 'x'", "text", folder.path() / "elsewhere");
  CHECK(absolute_path(at(parsed, "a")) == (folder.path() / "elsewhere/x").string());
}

TEST_CASE("what to_toml writes reads back as equal") {
  const double infinity = std::numeric_limits<double>::infinity();
  Value root{Value::Table{}};
  root.set("text", "quote \" backslash \\ newline \n tab \t bell \a delete \x7f umlaut \u00e4");
  root.set("floats", Value::Array{0.1, 1.0, -1e-30, 1e300, infinity});
  root.set("integers", Value::Array{0, std::int64_t{-9223372036854775807}});
  root.set("empty", Value::Array{});
  root.set("mixed", Value::Array{1, "a", Value::Table{{"b", 2}}, Value::Array{true}});
  root.set("key with space", true);
  root.set("table", Value::Table{{"x", 1}, {"inner.dotted", Value::Table{{"y", 2}}}, {"none", Value::Table{}}});
  root.set("tables", Value::Array{Value::Table{{"a", 1}, {"sub", Value::Table{{"b", 2}}}}, Value::Table{}});
  const std::string toml = to_toml(root);
  CAPTURE(toml);
  CHECK(parse_toml(toml, "x") == root);
}

TEST_CASE("random documents survive writing and reading") {
  std::mt19937 random(1);
  const auto make = [&](auto&& self, int depth) -> Value {
    switch (random() % (depth > 3 ? 4 : 6)) {
      case 0:
        return static_cast<std::int64_t>(random()) - 2000000000;
      case 1:
        return std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 100);
      case 2:
        return random() % 2 == 0;
      case 3: {
        std::string text;
        for (unsigned i = random() % 12; i > 0; --i) text += static_cast<char>(random() % 127 + 1);
        return text;
      }
      case 4: {
        Value::Array array;
        for (unsigned i = random() % 4; i > 0; --i) array.push_back(self(self, depth + 1));
        return array;
      }
      default: {
        // Plain keys first, as to_toml writes them, since comparison depends on the order.
        Value table{Value::Table{}};
        for (int pass = 0; pass < 2; ++pass) {
          for (unsigned i = random() % 3; i > 0; --i) {
            const std::string key = std::string(1, static_cast<char>('a' + random() % 26)) + std::to_string(pass);
            table.set(key, pass == 0 ? Value(static_cast<std::int64_t>(random()))
                                     : Value(Value::Table{{"k", self(self, 4)}}));
          }
        }
        return table;
      }
    }
  };
  for (int i = 0; i < 500; ++i) {
    const Value root{Value::Table{{"v", make(make, 0)}}};
    const std::string toml = to_toml(root);
    CAPTURE(toml);
    REQUIRE(parse_toml(toml, "x") == root);
  }
}
