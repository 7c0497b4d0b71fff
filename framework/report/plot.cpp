#include "framework/report/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "casdm/text.h"
#include "framework/report/html.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

// Size of the drawing in its own units, about its size in pixels on a 360 px screen.
constexpr double kWidth = 360, kHeight = 220;
constexpr double kLeft = 46, kRight = 12, kTop = 8, kBottom = 34;
constexpr std::size_t kColours = 8;
constexpr std::size_t kParts = 150;
constexpr std::size_t kMostRows = 24;  // in the table behind a plot
constexpr double kLogFactor = 30;

/// The end of any axis: differences of such numbers are finite. What lies beyond is drawn there.
constexpr double kLargest = std::numeric_limits<double>::max() / 4;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

std::string coordinate(double value) {
  char buffer[24];
  std::snprintf(buffer, sizeof(buffer), "%.1f", value);
  return buffer;
}

/// 0.05, 1e-05, 12k: short enough for an axis.
std::string axis_number(double value) {
  const double size = std::abs(value);
  const bool is_large = size >= 1e4 && size < 1e12;
  const double unit = !is_large ? 1 : size < 1e6 ? 1e3 : size < 1e9 ? 1e6 : 1e9;
  const char* suffix = unit == 1e3 ? "k" : unit == 1e6 ? "M" : unit == 1e9 ? "G" : "";
  return significant(value / unit, 4) + suffix;
}

/// Converts values to coordinates in the drawing.
class Axes {
 public:
  explicit Axes(const Plot& plot) {
    for (const Curve& curve : plot.curves) {
      for (const Curve::Point& point : curve.points) {
        x_.add(point.x - plot.bin_width / 2);
        x_.add(point.x + plot.bin_width / 2);
        y_.add(point.range ? point.range->first : point.y);
        y_.add(point.range ? point.range->second : point.y);
      }
    }
    for (Range* range : {&x_, &y_}) {  // so that differences are finite
      range->low = std::max(range->low, -kLargest);
      range->high = std::min(range->high, kLargest);
    }
    if (x_.low == x_.high) x_ = {x_.low - 0.5, x_.high + 0.5};
    is_log_ = plot.bin_width == 0 && y_.low > 0 && y_.high / y_.low > kLogFactor;
    if (y_.low == y_.high) {
      const double margin = y_.low == 0 ? 1 : 0.1 * std::abs(y_.low);
      y_ = {y_.low - margin, y_.high + margin};
    }
    if (is_log_) {
      y_ = {y_.low / 1.1, y_.high * 1.1};
      return;
    }
    const double margin = 0.04 * (y_.high - y_.low);
    y_ = {y_.low - (y_.low == 0 ? 0 : margin), y_.high + margin};
  }

  double x(double value) const { return kLeft + (value - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight); }

  double y(double value) const {
    value = std::clamp(value, -kLargest, kLargest);
    const double part = is_log_ ? (std::log(value) - std::log(y_.low)) / (std::log(y_.high) - std::log(y_.low))
                                : (value - y_.low) / (y_.high - y_.low);
    return kHeight - kBottom - part * (kHeight - kBottom - kTop);
  }

  std::vector<double> x_ticks() const { return ticks(x_.low, x_.high, 5); }

  std::vector<double> y_ticks() const {
    if (!is_log_) return ticks(y_.low, y_.high, 5);
    const bool is_wide = y_.high / y_.low > 1e4;
    std::vector<double> values;
    for (int power = static_cast<int>(std::floor(std::log10(y_.low))); std::pow(10, power) <= y_.high; ++power) {
      for (const double digit : {1.0, 3.0}) {
        const double value = digit * std::pow(10, power);
        if (value >= y_.low && value <= y_.high && (digit == 1 || !is_wide)) values.push_back(value);
      }
    }
    while (values.size() > 6) {
      for (std::size_t i = 1; i < values.size(); ++i) values.erase(values.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return values;
  }

  bool is_log() const { return is_log_; }

 private:
  Range x_, y_;
  bool is_log_ = false;
};

std::string line(double x1, double y1, double x2, double y2) {
  return text("<line x1=\"", coordinate(x1), "\" y1=\"", coordinate(y1), "\" x2=\"", coordinate(x2), "\" y2=\"",
              coordinate(y2), "\"/>");
}

std::string label(double x, double y, const char* anchor, const std::string& content) {
  return text("<text x=\"", coordinate(x), "\" y=\"", coordinate(y), "\" text-anchor=\"", anchor, "\">", html(content),
              "</text>");
}

std::string frame(const Axes& axes, const Plot& plot) {
  std::string grid, labels;
  for (const double value : axes.y_ticks()) {
    grid += line(kLeft, axes.y(value), kWidth - kRight, axes.y(value));
    labels += label(kLeft - 5, axes.y(value) + 4, "end", axis_number(value));
  }
  for (const double value : axes.x_ticks()) {
    grid += line(axes.x(value), kHeight - kBottom, axes.x(value), kHeight - kBottom + 3);
    const double half = 3.2 * static_cast<double>(axis_number(value).size());
    const double x = std::min(axes.x(value), kWidth - half);
    labels += label(x, kHeight - kBottom + 15, "middle", axis_number(value));
  }
  labels += label((kLeft + kWidth - kRight) / 2, kHeight - 4, "middle", plot.x_label);
  return text("<g class=\"grid\">", grid, "</g><g class=\"ticks\">", labels, "</g>");
}

/// The outline of a histogram.
std::vector<Curve::Point> steps_of(const std::vector<Curve::Point>& bins, double bin_width) {
  std::vector<Curve::Point> points;
  for (const Curve::Point& bin : bins) {
    for (const double side : {-0.5, 0.5}) points.push_back({bin.x + side * bin_width, bin.y});
  }
  return points;
}

std::string drawn(const Curve& curve, const Axes& axes, std::size_t index, double bin_width) {
  const std::vector<Curve::Point> points = bin_width > 0 ? steps_of(curve.points, bin_width) : thinned(curve.points);
  std::string path, above, below;
  for (const Curve::Point& point : points) {
    path += text(path.empty() ? "" : " ", coordinate(axes.x(point.x)), ",", coordinate(axes.y(point.y)));
    if (!point.range) continue;
    above += text(coordinate(axes.x(point.x)), ",", coordinate(axes.y(point.range->second)), " ");
    below.insert(0, text(coordinate(axes.x(point.x)), ",", coordinate(axes.y(point.range->first)), " "));
  }
  std::string result = text("<g class=\"curve c", curve.colour % kColours, " d", curve.colour / kColours % 4,
                            "\" data-curve=\"", index, "\">");
  if (!above.empty()) result += text("<polygon points=\"", above, below, "\"/>");
  result += text("<polyline points=\"", path, "\"/>");
  // A line with few points is hard to see, so they get markers.
  for (const Curve::Point& point : points.size() <= 12 ? points : std::vector<Curve::Point>()) {
    result +=
        text("<circle cx=\"", coordinate(axes.x(point.x)), "\" cy=\"", coordinate(axes.y(point.y)), "\" r=\"2.2\"/>");
  }
  return result + "</g>";
}

/// A description of the drawing.
std::string description(const Plot& plot, const Axes& axes) {
  std::vector<std::string> parts;
  for (const Curve& curve : plot.curves) {
    if (curve.points.empty()) continue;
    if (plot.bin_width > 0) {
      const auto by_y = [](const Curve::Point& a, const Curve::Point& b) { return a.y < b.y; };
      const Curve::Point& most = *std::max_element(curve.points.begin(), curve.points.end(), by_y);
      parts.push_back(text(curve.name, " most often about ", axis_number(most.x)));
      continue;
    }
    parts.push_back(
        text(curve.name, " from ", axis_number(curve.points.front().y), " to ", axis_number(curve.points.back().y)));
  }
  return text(plot.title, " over ", plot.x_label, axes.is_log() ? ", logarithmic" : "", ": ", join(parts, "; "));
}

std::string legend(const Plot& plot) {
  std::string result = "<ul class=\"legend\">";
  for (std::size_t i = 0; i < plot.curves.size(); ++i) {
    const Curve& curve = plot.curves[i];
    result += text("<li><label><input type=\"checkbox\" checked data-shows=\"", i,
                   "\"><svg class=\"key\" viewBox=\"0 0 ", "24 8\" aria-hidden=\"true\"><g class=\"curve c",
                   curve.colour % kColours, " d", curve.colour / kColours % 4,
                   "\"><polyline points=\"1,4 23,4\"/></g></svg>", html(curve.name), "</label></li>");
  }
  return result + "</ul>";
}

/// A selection of the points, evenly spaced by index in the longest curve.
HtmlTable table_of(const Plot& plot) {
  HtmlTable table{html(plot.title), {html(plot.x_label)}, {}};
  const Curve* longest = nullptr;
  for (const Curve& curve : plot.curves) {
    table.header.push_back(html(curve.name));
    if (longest == nullptr || curve.points.size() > longest->points.size()) longest = &curve;
  }
  const std::size_t count = longest == nullptr ? 0 : longest->points.size();
  const std::size_t rows = std::min(count, kMostRows);
  for (std::size_t row = 0; row < rows; ++row) {
    const double x = longest->points[rows == 1 ? 0 : row * (count - 1) / (rows - 1)].x;
    std::vector<std::string> cells{axis_number(x)};
    for (const Curve& curve : plot.curves) {
      const auto at = std::lower_bound(curve.points.begin(), curve.points.end(), x,
                                       [](const Curve::Point& point, double value) { return point.x < value; });
      cells.push_back(at != curve.points.end() && at->x == x ? axis_number(at->y) : "");
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace

std::vector<double> ticks(double low, double high, std::size_t most) {
  const double rough = (high - low) / static_cast<double>(most);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> result;
  const double first = std::ceil(low / step - 1e-9);
  // Numbers that only rounding tells apart have no round ones between them.
  for (std::size_t i = 0; i <= 2 * most && (first + static_cast<double>(i)) * step <= high + 1e-9 * step; ++i) {
    result.push_back((first + static_cast<double>(i)) * step + 0.0);  // adding 0.0 turns -0 into 0
  }
  return result;
}

std::vector<Curve::Point> thinned(const std::vector<Curve::Point>& points) {
  if (points.size() <= 2 * kParts) return points;
  std::vector<Curve::Point> result{points.front()};
  const auto by_y = [](const Curve::Point& a, const Curve::Point& b) { return a.y < b.y; };
  for (std::size_t part = 0; part < kParts; ++part) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(part * points.size() / kParts);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((part + 1) * points.size() / kParts);
    auto [least, largest] = std::minmax_element(begin, end, by_y);
    if (largest < least) std::swap(least, largest);
    if (least->x > result.back().x) result.push_back(*least);
    if (largest->x > result.back().x) result.push_back(*largest);
  }
  if (points.back().x > result.back().x) result.push_back(points.back());
  return result;
}

std::string to_html(const Plot& plot, const std::string& id) {
  const Axes axes(plot);
  std::string curves;
  for (std::size_t i = 0; i < plot.curves.size(); ++i) curves += drawn(plot.curves[i], axes, i, plot.bin_width);
  return text("<figure class=\"plot\" id=\"", id, "\"><figcaption>", html(plot.title),
              plot.note.empty() ? "" : text("<small>", html(plot.note), "</small>"), "</figcaption><svg viewBox=\"0 0 ",
              kWidth, " ", kHeight, "\" role=\"img\" aria-label=\"", html(description(plot, axes)), "\">",
              frame(axes, plot), curves, "</svg>", plot.curves.size() > 1 ? legend(plot) : "",
              "<details><summary>Table</summary>", to_html(table_of(plot)), "</details></figure>\n");
}

}  // namespace casdm
