#include "casdm/plugin.h"

#include "shapes_dataset.h"

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Images made by a formula", .licence = "Apache-2.0"});
  plugin
      .add<casdm::dataset_shapes::ShapesDataset>(
          "shapes", "Coloured circles, squares, triangles, rings and crosses, labelled by their form; needs no file.")
      .recommended();
}
