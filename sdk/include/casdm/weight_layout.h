#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/backbone.h"
#include "casdm/value.h"

namespace casdm CASDM_API {

/// Weights as another program keeps them. The host reads and writes the files; a layout sees their content.
struct ForeignWeights {
  NamedTensors tensors = {};  ///< on the CPU; read ones may be strided and share storages
  Value config = {};          ///< the JSON file beside them (WeightLayoutInfo::config_file); null: no such file
  /// A table: options that `write` put beside the tensors; empty in files of other programs.
  Value recorded{Value::Table{}};
};

/// The weights of a backbone of ours, and the network that has them.
struct BackboneWeights {
  NamedTensors tensors = {};      ///< named as the backbone's state
  Value options{Value::Table{}};  ///< those of the backbone's options that are known, under their names
  /// With `options`, what makes the network. Of `write`'s, height and width alone count: the rest follows from the
  /// tensors. A height and width of 0 are unknown.
  Backbone::Spec spec = {};
  std::string summary = {};               ///< `read`: what it is, for people: "A U-Net, 3 -> 6 channels, 10 classes"
  std::vector<std::string> remarks = {};  ///< `read`: what could not be determined, one sentence each, for people
};

/// What a layout is for.
struct WeightLayoutInfo {
  std::string backbone;      ///< the component whose weights it maps: "unet" of the same plugin, or "plugin/component"
  std::string weights_file;  ///< the safetensors file of a folder; empty: the layout is a file by itself
  std::string config_file;   ///< the JSON file beside it; empty with weights_file
  /// Tensors have the backbone's own names and shapes: what `casdm import` writes, and `casdm export` by default. At
  /// most one layout of a backbone is.
  bool is_native = false;
  /// Options of a small network that the layout can express, over the backbone's defaults: what conformance tests try.
  Value sample{Value::Table{}};
};

/// How sure a layout is that weights are of its kind.
struct LayoutMatch {
  double confidence =
      0;  ///< 0: they are not; 1: every tensor is accounted for. The layout with the greatest reads them
  std::string difference;  ///< of weights that look like its kind but are not: what differs, for people
};

/// How the state of one backbone is recognised in, read from and written to the files of other programs. It lies in
/// the plugin of the backbone, beside the network it describes; `casdm import` and `casdm export` know containers alone
/// (safetensors files, files of torch.save, folders).
///
///     const ForeignWeights theirs = layout.write({state(*network), options, spec});
///     layout.recognise(theirs).confidence;  // > 0
///     layout.read(theirs).tensors;          // state(*network), bit for bit
///
/// Its options are what the files do not record and the user must say (`casdm import --set attention_order=new`). None
/// may be required, because a layout is created for every file that it might recognise. It holds no state and no
/// tensors, and never runs code from a file.
class WeightLayout {
 public:
  using Interface = WeightLayout;
  static constexpr std::string_view kind = "weight_layout";
  static constexpr int interface_version = 2;

  struct Spec {
    std::int64_t image_size =
        0;  ///< height and width of the network's images in pixels, where the caller knows; else 0
  };

  virtual ~WeightLayout();

  virtual WeightLayoutInfo info() const = 0;

  /// Whether `weights` are in this layout. Reads names, shapes and `config`, never fails on unknown content, and
  /// does not depend on the options.
  virtual LayoutMatch recognise(const ForeignWeights& weights) const = 0;

  /// Throws Error that says what differs when the tensors are not exactly those of a network of the backbone, and with
  /// every reason when the backbone cannot express the network; ConfigError when an option is missing, or contradicts
  /// what the file records.
  virtual BackboneWeights read(const ForeignWeights& weights) const = 0;

  /// Throws ConfigError with every reason when the layout cannot express the network. The tensors may share the
  /// storages of those given.
  virtual ForeignWeights write(const BackboneWeights& weights) const = 0;
};

}  // namespace casdm
