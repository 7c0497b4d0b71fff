#pragma once

#include <string>
#include <vector>

#include "casdm/text.h"
#include "config/support.h"
#include "framework/comparison/comparison.h"

namespace casdm::testing {

inline std::string config(const std::string& name, std::int64_t seed, const std::string& metric) {
  return text("[run]\nname = \"", name, "\"\nseed = ", seed, "\ndirectory = \"runs\"\n[train]\ntotal_images = \"1k\"\n",
              "[[metrics]]\ntype = \"", metric, "\"\n");
}

inline std::string line(std::int64_t images, double x0, double gate) {
  return text("{\"images\":", images, ",\"step\":1,\"seconds\":2.5,\"loss\":{\"x0\":{\"mean\":", number(x0),
              ",\"by_t\":[", number(x0 / 2), ",null]}},\"statistic\":{\"gate\":{\"mean\":", number(gate),
              "}},\"grad_norm\":{\"phi\":0.25}}\n");
}

/// A complete run with an earlier line, the line of a resume, and one that was cut off.
inline void make_run(const TemporaryFolder& folder, const std::string& name, std::int64_t seed,
                     const std::string& metric, double x0) {
  folder.write(text("runs/", name, "/config.toml"), config(name, seed, metric));
  folder.write(text("runs/", name, "/metrics.jsonl"),
               text(line(500, 9, 9), "{\"resumed\":true,\"images\":500}\n", line(1000, x0, 0.5), "{\"images\":15"));
}

inline std::vector<std::string> all_remarks(const Comparison& comparison) {
  return remarks(comparison, summarise(comparison));
}

}  // namespace casdm::testing
