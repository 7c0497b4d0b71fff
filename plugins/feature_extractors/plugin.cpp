#include "casdm/plugin.h"

#include "dinov2.h"
#include "efficientnet_lite.h"
#include "inception.h"
#include "pixels.h"
#include "random_patches.h"
#include "trunk_extractor.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::feature_extractors;
  plugin.describe({.summary = "Networks and formulas that turn images into features", .licence = "Apache-2.0"});
  plugin.add<Pixels>("pixels", "The pixels themselves.");
  plugin.add<RandomPatches>("random_patches", "Random Fourier features of patches, without weights.");
  plugin.add<EfficientNetLiteOf<0>>("efficientnet_lite0", "EfficientNet-Lite0, trained on ImageNet.").recommended();
  plugin.add<EfficientNetLiteOf<1>>("efficientnet_lite1", "EfficientNet-Lite1, trained on ImageNet.");
  plugin.add<EfficientNetLiteOf<2>>("efficientnet_lite2", "EfficientNet-Lite2, trained on ImageNet.");
  plugin.add<Inception>("inception", "TensorFlow's Inception of 2015: the judge of published FID, sFID and IS.");
  plugin.add<Dinov2>("dinov2", "DINOv2, a vision transformer trained without labels (Oquab et al. 2023).");
  plugin.add<Vgg16>("vgg16", "The VGG16 trunk of ST-LPIPS or LPIPS.");
  plugin.add<AlexNet>("alexnet", "The AlexNet trunk of ST-LPIPS or LPIPS.");
}
