#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/interchange/weight_layouts.h"

using namespace casdm;

namespace {

/// Returns what it was made with, whatever it is asked.
class FixedLayout final : public WeightLayout {
 public:
  FixedLayout(NamedTensors tensors, Value table) : tensors_(std::move(tensors)), table_(std::move(table)) {}

  WeightLayoutInfo info() const override { return {}; }
  LayoutMatch recognise(const ForeignWeights&) const override { return {}; }
  BackboneWeights read(const ForeignWeights&) const override { return {tensors_, table_}; }
  ForeignWeights write(const BackboneWeights&) const override { return {tensors_, Value(), table_}; }

 private:
  NamedTensors tensors_;
  Value table_;
};

}  // namespace

TEST_CASE("what a weight layout reads and writes is checked and reported as the layout's") {
  const Tensor one = at::ones({2, 2});
  const auto refuses = [](const NamedTensors& tensors, const Value& table, const std::string& read,
                          const std::string& write) {
    const Component<WeightLayout> layout{std::make_shared<FixedLayout>(tensors, table), {"mine/layout", {}}};
    CHECK_THROWS_WITH_AS(read_by(layout, {}), ("mine/layout: read() returned " + read).c_str(), PluginError);
    CHECK_THROWS_WITH_AS(written_by(layout, {}), ("mine/layout: write() returned " + write).c_str(), PluginError);
  };
  const auto refuses_both = [&](const NamedTensors& tensors, const std::string& what) {
    refuses(tensors, Value::Table{}, what, what);
  };
  refuses_both({}, "no tensors");
  refuses_both({{"a", one}, {"a", one}}, "a tensor \"a\"; expected printable names, each once");
  refuses_both({{"a\nb", one}}, "a tensor \"a\\nb\"; expected printable names, each once");
  const std::string expected = "\"a\" undefined, sparse or on a device; expected a dense tensor on the CPU";
  refuses_both({{"a", Tensor()}}, expected);
  refuses_both({{"a", one.to_sparse()}}, expected);
  refuses({{"a", one}}, Value(0.5), "options that are no table", "recorded options that are no table");
  const Component<WeightLayout> good{std::make_shared<FixedLayout>(NamedTensors{{"a", one}}, Value::Table{})};
  CHECK(read_by(good, {}).tensors.size() == 1);
  CHECK(written_by(good, {}).tensors.size() == 1);
}
