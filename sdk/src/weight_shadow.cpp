#include "casdm/weight_shadow.h"

namespace casdm {

const char* const kWeightPieces =
#include "weight_pieces.inc"
    ;

}  // namespace casdm
