#include "framework/sampling/draw_together.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "casdm/value.h"
#include "framework/support/json_member.h"

namespace casdm {

std::string drawing_request(const GenerateOptions& options, std::int64_t own) {
  Value request(Value::Table{{"seed", static_cast<std::int64_t>(options.seed)},
                             {"first", options.first},
                             {"count", options.count},
                             {"own", own}});
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
  const std::int64_t count = number("count"), own = number("own");
  // A process with nothing left to draw repeats the last image, since all must take the same steps.
  const std::int64_t begin = std::min(world.rank() * own, count - 1), n = std::min(own, count - begin);
  options.seed = static_cast<std::uint64_t>(number("seed"));
  options.first = number("first") + begin;
  options.count = n;
  if (const Value* labels = said.find("labels")) {
    std::vector<std::int64_t> all;
    for (const Value& label : labels->as_array()) all.push_back(label.as_integer());
    options.labels = at::tensor(all, at::kLong).narrow(0, begin, n);
  }
  const Tensor drawn = generate(model, options);
  if (world.size() == 1) return drawn;
  Tensor rows = drawn.new_zeros({own, drawn.size(1), drawn.size(2), drawn.size(3)});
  rows.narrow(0, 0, n).copy_(drawn);
  return world.gather(rows).narrow(0, 0, count);
}

}  // namespace casdm
