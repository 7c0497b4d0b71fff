#pragma once

#include <memory>
#include <string>

#include "framework/evaluation/gather.h"

namespace casdm::testing {

/// A host that knows the test plugin of judges, and those of the build.
std::shared_ptr<PluginHost> judging_host();

/// The judges in `toml`, the content of [evaluate], for images of 16 px.
Judges make_judges(const std::string& toml);

/// One judge `cells` with one metric `moments_gap`.
inline const std::string kCells = "judges = [{ type = \"cells\", metrics = [{ type = \"moments_gap\" }] }]";

/// Images of 16 px made from a seed, uint8 [count, 3, 16, 16].
at::Tensor some_images(std::int64_t count, std::uint64_t seed = 1);

/// These as a stream that can be read in pieces of any size.
ImageStream stream_of_tensor(const at::Tensor& images, const std::string& name = "tensor");

std::string evaluation_file(const std::string& name);

}  // namespace casdm::testing
