#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/cli/box_judge.h"
#include "tools/cli/judge_json.h"
#include "tools/cli/picture_files.h"
#include "tools/detection/detector.h"
#include "tools/explanation/drawing.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"
#include "tools/training/safetensors.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using namespace detection;

ordered_json box_json(const Box& box) { return {box.x, box.y, box.w, box.h}; }

const char* fate_name(Fate fate) {
  switch (fate) {
    case Fate::listed:
      return "listed";
    case Fate::unsure:
      return "below the threshold";
    case Fate::beaten:
      return "no peak";
    case Fate::covered:
      return "suppressed";
    case Fate::crowded:
      return "too many";
  }
  return "";
}

// What became of the box, in the list that `detect` gives.
ordered_json verdict_json(const Verdict& v) {
  ordered_json json = {{"fate", fate_name(v.fate)}, {"score", v.score}};
  if (v.fate == Fate::beaten || v.fate == Fate::covered) {
    json["by"] = {{"cell", {v.by_x, v.by_y}}, {"score", v.by_score}, {"iou", v.overlap}};
  }
  return json;
}

void frame(Image& image, const ChosenBox& box, const std::vector<std::string>& classes) {
  const Seen mark{box.box, box.what.category, box.verdict.score, box.what.y, box.what.x};
  const std::vector<std::string> names(classes.size(), box.name);
  draw_boxes(image, std::span<const Seen>(&mark, 1), names);
}

class Command {
 public:
  Command(const BoxCommand& command, bool score, const std::string& mask)
      : command_(command),
        detector_(command.run.detector()),
        config_(detector_.model->config()),
        annotations_(command.data, config_, command.run.allow_outside),
        info_(info_for(config_)),
        judge_(*detector_.model, command.run.backend(), score, command.explanation.settings.seed),
        score_(score),
        mask_(mask) {
    if (command.box.missed && command.data.empty()) {
      throw usage_error("--missed needs --data: the folder with the pictures' annotations");
    }
  }

  void look_at(const std::string& path) {
    DetectorPicture picture;
    if (bad_.skipped([&] { picture = picture_for(config_, path, annotations_); })) {
      maps_.push_back({{"image", path}, {"error", bad_.last()}});
      return;
    }
    picture.picture.stem = unused_stem(picture.picture.stem, stems_);
    const std::vector<ChosenBox> boxes =
        choose_boxes(judge_.cells().read(picture.picture.input), picture, command_.box,
                     command_.explanation, config_.classes);
    if (boxes.empty()) say("{}: nothing was missed", printable(path));
    for (const ChosenBox& box : boxes) {
      say("{}: {}", printable(path),
          to_text(box, picture, config_.classes, detect_options(command_.box)));
    }
    std::vector<BoxSubject> subjects;
    for (const ChosenBox& box : boxes) {
      subjects.push_back(subject_of(picture, box, info_, command_.explanation.settings.seed));
      if (!mask_.empty()) subjects.back().mask = mask_of_picture(picture);
    }
    std::vector<std::vector<SheetCell>> rows(boxes.size());  // of the sheet
    std::vector<std::vector<quality::PanelRow>> panels(boxes.size());
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      Image marked = picture.picture.image;
      frame(marked, boxes[b], config_.classes);
      rows[b].push_back({marked, printable(stem_of(picture, boxes[b]))});
    }
    PictureSettings settings(command_.explanation, info_, picture.picture);
    if (!boxes.empty()) {
      for (const std::string& method : box_methods(command_.explanation)) {
        run(method, picture, boxes, subjects, settings.of(method), rows, panels);
      }
    }
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      sheet_.insert(sheet_.end(), rows[b].begin(), rows[b].end());
      if (!score_) continue;
      for (const quality::PanelRow& row : judge_.score_controls(subjects[b])) {
        panels[b].push_back(row);
        controls_.push_back({{"image", path},
                             {"box", stem_of(picture, boxes[b])},
                             {"control", row.method},
                             {"quality", quality_json(row.panel, box_metrics())}});
      }
      say("\n{}:\n{}", printable(stem_of(picture, boxes[b])),
          quality::to_text(panels[b], box_metrics()));
    }
    columns_ = rows.empty() ? columns_ : std::max(columns_, rows[0].size());
  }

  // The exit status, of `images` pictures.
  int finish(std::size_t images) {
    const fs::path out = command_.out;
    if (!sheet_.empty()) {
      SheetOptions layout;
      layout.cell_size = 240;
      layout.columns = static_cast<int>(std::min<std::size_t>(columns_, 8));
      write_png(out / "sheet.png", contact_sheet(sheet_, layout));
      write_safetensors(out / "maps.safetensors", stored_);
    }
    const ordered_json scores = {
        {"run", command_.run.run}, {"maps", maps_}, {"controls", controls_}};
    write_atomically(out / "scores.json", json_text(scores, 2) + "\n");
    if (command_.json) fmt::print("{}\n", json_text(scores, 2));
    for (const quality::MetricInfo& metric : box_metrics()) {
      if (score_ && !(metric.needs_mask && mask_.empty())) {
        say("{:<10} {}", metric.name, metric.what);
      }
    }
    return bad_.status(images);
  }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> text, Args&&... args) const {
    if (!command_.json) fmt::print("{}\n", fmt::format(text, std::forward<Args>(args)...));
  }

  static std::string stem_of(const DetectorPicture& picture, const ChosenBox& box) {
    return picture.picture.stem + (box.label.empty() ? "" : "." + box.label);
  }

  // White where the object is, brought into the input's frame.
  quality::Mask mask_of_picture(const DetectorPicture& picture) const {
    const Image mask = read_image(mask_, 3);
    if (mask.height != picture.height || mask.width != picture.width) {
      throw usage_error(
          "mask '{}' is {}x{}, its picture '{}' {}x{}; masks must have the picture's size", mask_,
          mask.height, mask.width, picture.picture.path, picture.height, picture.width);
    }
    const Image& seen = picture.picture.image;
    const Image framed = letterboxed(mask, picture.frame, seen.height, seen.width);
    quality::Mask result{seen.height, seen.width, {}};
    for (std::size_t i = 0; i < framed.pixels.size(); i += 3) {
      result.cause.push_back(framed.pixels[i] > 191);
    }
    if (result.share() == 0) {
      throw usage_error("mask '{}' has no pixel above three quarters of white", mask_);
    }
    return result;
  }

  void run(const std::string& method, const DetectorPicture& picture,
           const std::vector<ChosenBox>& boxes, const std::vector<BoxSubject>& subjects,
           const explain::ExplainOptions& settings, std::vector<std::vector<SheetCell>>& rows,
           std::vector<std::vector<quality::PanelRow>>& panels) {
    std::vector<explain::Attribution> results;
    try {
      results = judge_.explain(method, picture.picture.input, boxes, settings);
    } catch (const Error& refused) {
      // Asked for all, a method that does not apply is left out and said so.
      if (!command_.explanation.may_be_left_out(method)) throw;
      if (left_out_.insert(method).second) fmt::print(stderr, "left out: {}\n", refused.what());
      return;
    }
    std::vector<quality::Panel> scored;
    if (score_) scored = judge_.score(method, results, subjects, boxes, settings);
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      const explain::Attribution& result = results[b];
      const std::string bad = not_finite(nullptr, result, picture.picture.input, 0, boxes[b].name);
      if (!bad.empty()) fmt::print(stderr, "{}: {}: {}\n", picture.picture.path, method, bad);
      const DrawableMap drawn = drawable(result);
      Image shown = overlay(picture.picture.image, drawn.map, drawn.colors);
      frame(shown, boxes[b], config_.classes);
      const std::string name = stem_of(picture, boxes[b]) + "." + method;
      const std::string stem = (fs::path(command_.out) / name).string();
      write_png(stem + ".png",
                with_color_bar(shown, drawn.colors, range_of(drawn.map, drawn.colors)));
      write_npy(stem + ".npy", result.map);
      stored_.push_back({printable(name), result.map});
      rows[b].push_back({shown, method});
      const Image& seen = picture.picture.image;
      const quality::Mask own = mask_of(boxes[b].box, seen.height, seen.width);
      const double energy =
          quality::mass_accuracy(upsample(drawn.map, seen.height, seen.width), own);
      ordered_json map = {{"image", picture.picture.path},
                          {"method", method},
                          {"target", boxes[b].name},
                          {"box", box_json(picture.in_picture(boxes[b].box))},
                          {"cell", {boxes[b].what.x, boxes[b].what.y}},
                          {"letterbox",
                           {{"scale", picture.frame.scale},
                            {"left", picture.frame.left},
                            {"top", picture.frame.top}}},
                          {"verdict", verdict_json(boxes[b].verdict)},
                          {"node", result.node},
                          {"value", result.value.item()},
                          {"residual", number(result.residual)},
                          {"error_estimate", number(result.error_estimate)},
                          {"forward_passes", result.forward_passes},
                          {"not_finite", bad.empty() ? ordered_json() : ordered_json(bad)},
                          {"note", result.note},
                          {"baseline", command_.explanation.baseline_names(method)},
                          {"energy_inside", energy},
                          {"chance", own.share()},
                          {"png", stem + ".png"},
                          {"npy", stem + ".npy"}};
      if (boxes[b].missed) {
        map["missed"] = {
            {"iou", boxes[b].missed->overlap},
            {"surest_class", config_.classes[static_cast<std::size_t>(boxes[b].missed->category)]},
            {"surest", boxes[b].missed->surest}};
      }
      if (score_) {
        map["quality"] = quality_json(scored[b], box_metrics());
        panels[b].push_back({method, scored[b]});
      }
      maps_.push_back(map);
      say("{}: {} of '{}', {}{}: {:.0f} % of what speaks for it lies in the box, "
          "which covers {:.1f} %: {}",
          printable(picture.picture.path), method, boxes[b].name,
          forward_passes(result.forward_passes), error_text(result), 100 * energy,
          100 * own.share(), printable(stem + ".png"));
    }
  }

  static ordered_json number(const Tensor& tensor) {
    return tensor.defined() ? ordered_json(tensor.item()) : ordered_json();
  }

  const BoxCommand& command_;
  LoadedDetector detector_;
  const DetectorConfig& config_;
  Annotations annotations_;
  ModelInfo info_;
  BoxJudge judge_;
  bool score_;
  std::string mask_;
  ordered_json maps_ = ordered_json::array(), controls_ = ordered_json::array();
  std::vector<SheetCell> sheet_;
  std::size_t columns_ = 1;
  std::vector<StoredTensor> stored_;
  std::set<std::string> left_out_, stems_;
  BadPictures bad_;
};

}  // namespace

int explain_boxes(const BoxCommand& command, const std::vector<std::string>& images, bool score,
                  const std::string& mask) {
  make_output_folder(command.out);
  Command run(command, score, mask);
  for (const std::string& path : images) run.look_at(path);
  return run.finish(images.size());
}

}  // namespace tapescope::cli
