#include "framework/sampling/draw_together.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "casdm/value.h"
#include "framework/support/json_member.h"

namespace casdm {

std::string drawing_request(const GenerateOptions& options) {
  Value request(Value::Table{
      {"seed", static_cast<std::int64_t>(options.seed)}, {"first", options.first}, {"count", options.count}});
  Value::Array labels;
  for (std::int64_t i = 0; options.labels.defined() && i < options.count; ++i) {
    labels.emplace_back(options.labels[i].item<std::int64_t>());
  }
  if (!labels.empty()) request.set("labels", std::move(labels));
  return to_json(request);
}

Tensor draw_together(const Model& model, const std::string& request, GenerateOptions options, World& world) {
  const Value said = from_json(request);
  const auto number = [&](const char* key) { return json_member(said, key).as_integer(); };
  const std::int64_t count = number("count"), first = number("first");
  // As many for each; the last ones may have nothing left to draw but what others draw too.
  const std::int64_t own = (count + world.size() - 1) / world.size();
  const std::int64_t begin = std::min(world.rank() * own, count - own);
  options.seed = static_cast<std::uint64_t>(number("seed"));
  options.first = first + begin;
  options.count = own;
  if (const Value* labels = said.find("labels")) {
    std::vector<std::int64_t> all;
    for (const Value& label : labels->as_array()) all.push_back(label.as_integer());
    options.labels = at::tensor(all, at::kLong).narrow(0, begin, own);
  }
  const Tensor drawn = world.gather(generate(model, options));
  std::vector<Tensor> images;
  for (int rank = 0; rank < world.size() && rank * own < count; ++rank) {
    const std::int64_t of_rank = std::min(rank * own, count - own);
    const std::int64_t known = rank * own - of_rank;
    images.push_back(drawn.narrow(0, rank * own + known, own - known));
  }
  return at::cat(images);
}

}  // namespace casdm
