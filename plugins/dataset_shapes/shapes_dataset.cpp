#include "shapes_dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"

namespace casdm::dataset_shapes {

namespace {

/// Red, green, blue in [0, 1].
using Colour = std::array<double, 3>;

struct Point {
  double x;
  double y;
};

double box_distance(Point p, double half_width, double half_height) {
  const double dx = std::abs(p.x) - half_width;
  const double dy = std::abs(p.y) - half_height;
  return std::hypot(std::max(dx, 0.0), std::max(dy, 0.0)) + std::min(std::max(dx, dy), 0.0);
}

/// Signed distances to forms at the origin that fit in a circle of radius r: negative inside; exact, or a lower bound
/// inside the cross.
double circle_distance(Point p, double r) { return std::hypot(p.x, p.y) - r; }
double square_distance(Point p, double r) { return box_distance(p, r / std::numbers::sqrt2, r / std::numbers::sqrt2); }
double ring_distance(Point p, double r) { return std::abs(std::hypot(p.x, p.y) - 0.75 * r) - 0.25 * r; }
double cross_distance(Point p, double r) {
  return std::min(box_distance(p, 0.94 * r, 0.3 * r), box_distance(p, 0.3 * r, 0.94 * r));
}
double triangle_distance(Point p, double r) {
  // Equilateral triangle: folded into one of six equal sectors, the distance is that to a single edge.
  const double half_edge = r * std::numbers::sqrt3 / 2;
  double x = std::abs(p.x) - half_edge;
  double y = p.y + r / 2;
  if (x + std::numbers::sqrt3 * y > 0) {
    const double folded = (x - std::numbers::sqrt3 * y) / 2;
    y = (-std::numbers::sqrt3 * x - y) / 2;
    x = folded;
  }
  x -= std::clamp(x, -2 * half_edge, 0.0);
  return -std::hypot(x, y) * (y > 0 ? 1.0 : -1.0);
}

struct Form {
  const char* name;
  double (*distance)(Point, double);
};
constexpr std::array<Form, 5> kForms = {{{"circle", circle_distance},
                                         {"square", square_distance},
                                         {"triangle", triangle_distance},
                                         {"ring", ring_distance},
                                         {"cross", cross_distance}}};

const Form* find_form(const std::string& name) {
  const auto found = std::find_if(kForms.begin(), kForms.end(), [&](const Form& form) { return name == form.name; });
  return found != kForms.end() ? &*found : nullptr;
}

/// Hue in turns; saturation and value in [0, 1].
Colour from_hsv(double hue, double saturation, double value) {
  Colour colour;
  for (int c = 0; c < 3; ++c) {
    const double turn = hue + c / 3.0;
    const double wave = std::clamp(std::abs((turn - std::floor(turn)) * 6 - 3) - 1, 0.0, 1.0);
    colour[static_cast<std::size_t>(c)] = value * (1 + saturation * (wave - 1));
  }
  return colour;
}

/// The random numbers for one image, each with its own name.
class Draws {
 public:
  Draws(std::uint64_t seed, std::int64_t index)
      : seed_(derive_seed(seed, "shapes", static_cast<std::uint64_t>(index))) {}
  double between(double low, double high, std::string_view name) const {
    return low + (high - low) * uniform(derive_seed(seed_, name));
  }

 private:
  std::uint64_t seed_;
};

Colour background_colour(Background choice, const Draws& draws) {
  if (choice == Background::white) return {1, 1, 1};
  if (choice == Background::black) return {0, 0, 0};
  return from_hsv(draws.between(0, 1, "background hue"), draws.between(0, 0.25, "background saturation"),
                  draws.between(0.85, 1, "background value"));
}

/// The position and size of an image's form, in units of the image.
struct Pose {
  Point centre;
  double radius;
  double angle;

  explicit Pose(const Draws& draws)
      : radius(draws.between(0.18, 0.42, "radius")), angle(draws.between(0, 2 * std::numbers::pi, "angle")) {
    centre.x = draws.between(radius, 1 - radius, "x");
    centre.y = draws.between(radius, 1 - radius, "y");
  }
  Point local(double x, double y) const {
    const double dx = x - centre.x, dy = y - centre.y;
    return {std::cos(angle) * dx + std::sin(angle) * dy, std::cos(angle) * dy - std::sin(angle) * dx};
  }
};

void put_pixel(std::uint8_t* target, std::int64_t channels, const Colour& colour) {
  const auto byte = [](double value) {
    return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 1.0) * 255));
  };
  if (channels == 1) {
    target[0] = byte(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]);
  } else {
    for (std::size_t c = 0; c < 3; ++c) target[c] = byte(colour[c]);
  }
}

}  // namespace

ShapesDataset::ShapesDataset(const ShapesOptions& options, const Spec& spec) : options_(options), spec_(spec) {
  if (spec.image.channels != 1 && spec.image.channels != 3) {
    throw ConfigError(text("channels = ", spec.image.channels, ": expected 3 (RGB) or 1 (grey)"));
  }
  std::vector<std::string> known;
  for (const Form& form : kForms) known.push_back(form.name);
  std::set<std::string> seen;
  for (const std::string& name : options.forms) {
    if (find_form(name) == nullptr) throw ConfigError(text("forms: '", name, "' is not one of ", join(known, ", ")));
    if (!seen.insert(name).second) throw ConfigError(text("forms: '", name, "' is listed twice"));
  }
  if (seen.empty()) throw ConfigError(text("forms: expected at least one of ", join(known, ", ")));
}

Example ShapesDataset::get(std::int64_t index) const {
  const Draws draws(static_cast<std::uint64_t>(options_.seed), index);
  const auto label = std::min(static_cast<std::int64_t>(draws.between(0, static_cast<double>(num_classes()), "form")),
                              num_classes() - 1);
  const Form& form = *find_form(options_.forms[static_cast<std::size_t>(label)]);
  const Colour fill =
      from_hsv(draws.between(0, 1, "hue"), draws.between(0.6, 1, "saturation"), draws.between(0.6, 1, "value"));
  const Colour ground = background_colour(options_.background, draws);
  const Pose pose(draws);

  const std::int64_t side = spec_.image.height;
  Image image{side, side, spec_.image.channels, {}};
  image.pixels.resize(static_cast<std::size_t>(side * side * spec_.image.channels));
  std::uint8_t* target = image.pixels.data();
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x, target += spec_.image.channels) {
      const Point p = pose.local((static_cast<double>(x) + 0.5) / static_cast<double>(side),
                                 (static_cast<double>(y) + 0.5) / static_cast<double>(side));
      // The fraction of the pixel covered by a shape with a straight edge at this distance.
      const double cover = std::clamp(0.5 - form.distance(p, pose.radius) * static_cast<double>(side), 0.0, 1.0);
      Colour colour;
      for (std::size_t c = 0; c < 3; ++c) colour[c] = ground[c] + cover * (fill[c] - ground[c]);
      put_pixel(target, spec_.image.channels, colour);
    }
  }
  return {std::move(image), label};
}

std::string ShapesDataset::describe(std::int64_t index) const {
  return text("shapes ", index, " of seed ", options_.seed);
}

}  // namespace casdm::dataset_shapes
