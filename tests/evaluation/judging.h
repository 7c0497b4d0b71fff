#pragma once

#include <memory>
#include <string>

#include "framework/evaluation/gather.h"

namespace casdm::testing {

/// A host that knows the plugin of judges for tests, and those of the build.
std::shared_ptr<PluginHost> judging_host();

/// The judges of `toml`, the content of [evaluate]; of 16 px.
Judges make_judges(const std::string& toml);

/// One judge `cells` with one metric `moments_gap`.
inline const std::string kCells = "judges = [{ type = \"cells\", metrics = [{ type = \"moments_gap\" }] }]";

/// Images of 16 px from a seed, uint8 [count, 3, 16, 16].
at::Tensor some_images(std::int64_t count, std::uint64_t seed = 1);

/// A stream of them that is cut into pieces of any size.
ImageStream stream_of_tensor(const at::Tensor& images, const std::string& name = "tensor");

std::string evaluation_file(const std::string& name);

}  // namespace casdm::testing
