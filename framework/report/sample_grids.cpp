#include "framework/report/sample_grids.h"

#include <algorithm>
#include <map>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/report/html.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostGridBytes = 24 << 20;  // of all grids together, before base64
constexpr std::size_t kMostMoments = 24;          // positions of the slider
constexpr std::size_t kLargestGrid = 16 << 20;    // bytes of one file
constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";

/// RUN/samples/IMAGES.png by number of images.
std::map<std::int64_t, fs::path> grids_of(const fs::path& run) {
  std::map<std::int64_t, fs::path> grids;
  std::error_code failure;
  for (fs::directory_iterator entry(run / "samples", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().stem().string();
    const bool is_number =
        !name.empty() && name.size() < 16 && name.find_first_not_of("0123456789") == std::string::npos;
    if (entry->path().extension() == ".png" && is_number) grids[std::stoll(name)] = entry->path();
  }
  return grids;
}

/// `most` of `all`, evenly spaced, including the last one.
std::vector<std::int64_t> evenly(const std::set<std::int64_t>& all, std::size_t most) {
  const std::vector<std::int64_t> list(all.begin(), all.end());
  if (list.size() <= most) return list;
  std::vector<std::int64_t> result;
  for (std::size_t i = 1; i <= most; ++i) result.push_back(list[i * list.size() / most - 1]);
  return result;
}

/// Empty: it is not shown.
std::string image(const fs::path& file, const std::string& arm, std::int64_t seed, std::int64_t images, bool is_shown) {
  try {
    // The page will be shown to others, so files that are not really grids, or that are outside the run, are left out.
    std::error_code ignored;
    if (!fs::is_regular_file(fs::symlink_status(file, ignored))) return "";
    const std::string content = read_regular_file(file, kLargestGrid);
    if (!content.starts_with(kSignature)) return "";
    return text("<img data-seed=\"", seed, "\" data-images=\"", images, "\" alt=\"Grid of samples of ", html(arm),
                ", seed ", seed, ", after ", images, " images\"", is_shown ? "" : " hidden",
                " src=\"data:image/png;base64,", base64(content), "\">");
  } catch (const Error&) {
    return "";
  }
}

struct Grids {
  const ComparedArm* arm;
  std::int64_t seed;
  std::map<std::int64_t, fs::path> files;
};

/// How many moments fit into the page.
std::size_t moments_that_fit(const std::vector<Grids>& all) {
  std::uintmax_t largest = 0;
  for (const Grids& grids : all) {
    for (const auto& [images, file] : grids.files) {
      std::error_code failure;
      const std::uintmax_t size = fs::file_size(file, failure);
      if (!failure && size <= kLargestGrid) largest = std::max(largest, size);
    }
  }
  const std::uintmax_t of_a_moment = std::max<std::uintmax_t>(1, largest * all.size());
  return std::clamp<std::size_t>(kMostGridBytes / of_a_moment, 1, kMostMoments);
}

std::string controls(const std::vector<std::int64_t>& moments, const std::set<std::int64_t>& seeds) {
  std::string result = "<div class=\"controls\">";
  if (moments.size() > 1) {
    result += text("<label>After <output>", moments.back(), "</output> images <input type=\"range\" min=\"0\" max=\"",
                   moments.size() - 1, "\" value=\"", moments.size() - 1,
                   "\" step=\"1\" aria-label=\"Images seen\"></label>");
  } else {
    result += text("<span>After <output>", moments.back(), "</output> images</span>");
  }
  if (seeds.size() > 1) {
    result += "<label>Seed <select>";
    for (const std::int64_t seed : seeds) result += text("<option>", seed, "</option>");
    result += "</select></label>";
  }
  return result + "</div>\n";
}

}  // namespace

std::string sample_grids(const Comparison& comparison) {
  std::vector<Grids> all;
  std::set<std::int64_t> every_moment, seeds;
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      all.push_back({&arm, run.seed, grids_of(run.path)});
      if (!all.back().files.empty()) seeds.insert(run.seed);
      for (const auto& [images, file] : all.back().files) every_moment.insert(images);
    }
  }
  if (every_moment.empty()) return "";
  const std::vector<std::int64_t> moments = evenly(every_moment, moments_that_fit(all));
  std::vector<std::string> labels;
  for (const std::int64_t moment : moments) labels.push_back(std::to_string(moment));
  std::string result =
      text("<div data-samples=\"", join(labels, " "), "\">", controls(moments, seeds), "<div class=\"samples\">\n");
  std::size_t left_out = 0;
  for (const ComparedArm& arm : comparison.arms) {
    std::string images;
    bool has_shown = false;
    for (const Grids& grids : all) {
      if (grids.arm != &arm) continue;
      for (const std::int64_t moment : moments) {
        const auto file = grids.files.find(moment);
        if (file == grids.files.end()) continue;
        // Without scripts, the last grid of the first seed is visible.
        const bool is_last = grids.seed == *seeds.begin() && moment == moments.back();
        const std::string grid = image(file->second, arm.name, grids.seed, moment, is_last && !has_shown);
        has_shown = has_shown || (is_last && !grid.empty());
        left_out += grid.empty() ? 1 : 0;
        images += grid;
      }
    }
    const std::string name = comparison.arms.size() > 1 ? html(arm.name) : "";
    if (images.empty()) continue;
    result += text("<figure><figcaption>", name, "<small></small></figcaption>", images, "</figure>\n");
  }
  result += "</div></div>\n";
  if (left_out > 0) {
    result += text("<p>Not shown: ", left_out, left_out == 1 ? " file" : " files", " of samples/ that ",
                   left_out == 1 ? "is" : "are", " larger than ", kLargestGrid >> 20,
                   " MiB, cannot be read, or no PNG.</p>\n");
  }
  if (moments.size() < every_moment.size()) {
    result += text("<p>", moments.size(), " of ", every_moment.size(),
                   " moments are shown; all grids are in samples/ of "
                   "each run.</p>\n");
  }
  return result;
}

}  // namespace casdm
