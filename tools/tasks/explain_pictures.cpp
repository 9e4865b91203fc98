#include "tools/tasks/explain_pictures.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/data/picture_files.h"
#include "tools/explanation/drawing.h"
#include "tools/explanation/picture_settings.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/quality/panel_json.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"
#include "tools/training/deviation.h"
#include "tools/training/safetensors.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kColumns = 8;  // of the sheet
constexpr int kCell = 168;           // wide enough for the methods' names

Json number(const Tensor& tensor) { return tensor.defined() ? Json(tensor.item()) : Json(); }

// Whether nothing in a class activation map speaks for the class: its usual ReLU would leave an
// empty picture.
bool nothing_positive(const Tensor& map) {
  if (map.shape().rank() != 4) return false;
  const auto values = map.values<float>();
  return std::none_of(values.begin(), values.end(), [](float v) { return !(v <= 0); });
}

Json settings_json(const ExplanationRequest& request) {
  const explain::ExplainOptions& s = request.settings;
  return {{"layer", s.layer},
          {"quadrature", request.quadrature},
          {"steps", s.steps},
          {"draws", s.draws},
          {"noise", s.noise},
          {"window", s.window},
          {"stride", s.stride},
          {"grid", s.grid},
          {"segments", request.segments},
          {"budget", s.budget},
          {"composite", s.lrp.rules},
          {"epsilon", s.lrp.epsilon},
          {"gamma", s.lrp.gamma},
          {"low", request.low},
          {"high", request.high},
          {"seed", s.seed}};
}

// One call of `explain`.
class Maps {
 public:
  Maps(const Run& run, const ExplainCommand& command)
      : run_(run),
        command_(command),
        request_(command.options.request),
        explainer_(run.explainer(command.options)),
        methods_(explainer_->methods()) {
    if (command.options.backend.precision != DType::f32) {
      ExplainOptions options = command.options;
      options.backend.precision = DType::f32;
      in_f32_ = run.explainer(options);
    }
    if (command.ledger && !explainer_->of_classes()) {
      throw usage_error("--ledger is of a classifier's run, not of a detector's");
    }
    if (command.ledger && std::none_of(methods_.begin(), methods_.end(), keeps_ledger)) {
      throw usage_error("--ledger needs an lrp method, such as --method lrp-epsilon-plus");
    }
  }

  void look_at(const std::string& path) {
    if (bad_.skipped([&] { explainer_->look_at(path, Choose::asked); })) {
      maps_.push_back({{"image", path}, {"error", bad_.last()}});
      return;
    }
    make_output_folder(command_.out);
    path_ = path;
    if (in_f32_) in_f32_->look_at(path, Choose::asked);
    stem_ = unused_stem(explainer_->picture().stem, stems_);
    for (const std::string& remark : explainer_->remarks()) {
      command_.say(fmt::format("{}: {}", printable(path), remark));
    }
    if (!command_.mask.empty()) explainer_->use_mask(explainer_->read_mask(command_.mask));
    const std::size_t targets = explainer_->targets().size();
    rows_.assign(targets, {});
    panels_.assign(targets, {});
    for (std::size_t t = 0; t < targets; ++t) {
      Image marked = explainer_->picture().image;
      explainer_->mark(marked, t);
      rows_[t].push_back({marked, printable(stem_of(t))});
    }
    PictureSettings settings(request_, run_.preprocess(), explainer_->picture());
    if (targets > 0) {
      for (const std::string& method : methods_) run(method, settings.of(method));
    }
    if (tabular()) tell_row();
    for (std::size_t t = 0; t < targets; ++t) {
      if (command_.options.score) score_controls(t);
      per_row_ = std::max(per_row_, rows_[t].size());
      // Each target begins a row of the sheet.
      sheet_.insert(sheet_.end(), rows_[t].begin(), rows_[t].end());
      if (per_row_ > kColumns) {
        sheet_.resize(sheet_.size() + (kColumns - rows_[t].size() % kColumns) % kColumns);
      }
    }
  }

  Explained finish() {
    const fs::path out = command_.out;
    Explained result;
    const bool none = bad_.count() == std::ssize(command_.pictures);
    if (!sheet_.empty()) {
      result.sheet = (out / "sheet.png").string();
      SheetOptions layout;
      layout.cell_size = kCell;
      layout.columns = static_cast<int>(std::min(per_row_, kColumns));
      write_png(result.sheet, contact_sheet(sheet_, layout));
    }
    if (!none) write_safetensors(out / "maps.safetensors", stored_);
    const Json scores = {{"run", run_.asked().run},
                         {"checkpoint", run_.asked().checkpoint},
                         {"settings", settings_json(request_)},
                         {"maps", maps_},
                         {"controls", controls_},
                         {"sheet", result.sheet}};
    result.json = json_text(scores, 2);
    if (!none) write_atomically(out / "scores.json", result.json + "\n");
    result.status = bad_.status(command_.pictures.size());
    return result;
  }

 private:
  // Of many pictures a line each, which scores.json has more of; of one a line for each map.
  bool tabular() const { return command_.pictures.size() > 1; }

  void tell_row() {
    constexpr std::size_t kName = 32, kTarget = 24;
    if (!headed_) {
      command_.say(fmt::format("{} {} {:>5} {:>8}", padded("picture", kName),
                               padded("explained", kTarget), "maps", "passes"));
      headed_ = true;
    }
    const std::vector<Target>& targets = explainer_->targets();
    std::string what = targets.empty() ? "nothing" : targets[0].name;
    if (targets.size() > 1) what = fmt::format("{}: {}, ...", targets.size(), what);
    command_.say(fmt::format("{} {} {:>5} {:>8.1f}",
                             padded(shortened(printable(path_), kName), kName),
                             padded(shortened(what, kTarget), kTarget), made_, passes_));
    made_ = passes_ = 0;
  }

  std::string stem_of(std::size_t target) const {
    const std::string& label = explainer_->targets()[target].label;
    return stem_ + (label.empty() ? "" : "." + label);
  }

  void run(const std::string& method, const explain::ExplainOptions& settings) {
    std::vector<explain::Attribution> results;
    try {
      results = explainer_->explain(method, settings);
    } catch (const Error& refused) {
      // A method that was not named, and that this model does not admit, is left out and told.
      if (!command_.leave_out && !request_.may_be_left_out(method)) throw;
      if (left_out_.insert(method).second) fmt::print(stderr, "left out: {}\n", refused.what());
      return;
    }
    std::vector<explain::Attribution> in_f32;
    if (in_f32_) in_f32 = in_f32_->explain(method, settings);
    for (std::size_t t = 0; t < results.size(); ++t) {
      keep(method, t, results[t], t < in_f32.size() ? &in_f32[t] : nullptr);
    }
    if (command_.ledger && keeps_ledger(method)) {
      const LedgerTable ledger = explainer_->ledger(method, settings);
      maps_.back()["ledger"] = ledger_json(ledger);
      command_.say(ledger_text(ledger));
    }
    if (command_.options.score) score(method, results, settings);
  }

  // Draws, keeps and tells one map; `in_f32`: the same in f32, where there is one of that target.
  void keep(const std::string& method, std::size_t t, const explain::Attribution& map,
            const explain::Attribution* in_f32) {
    const Target& target = explainer_->targets()[t];
    const std::string name = stem_of(t) + "." + method;
    const std::string stem = (fs::path(command_.out) / name).string();
    write_npy(stem + ".npy", map.map);
    stored_.push_back({printable(name), map.map});
    std::string png;  // units of a dense layer lie nowhere in the picture
    Image shown;
    if (map.map.shape().rank() == 4) {
      const DrawableMap drawn = drawable(map);
      shown = overlay(explainer_->picture().image, drawn.map, drawn.colors);
      explainer_->mark(shown, t);
      png = stem + ".png";
      write_png(png, with_color_bar(shown, drawn.colors, range_of(drawn.map, drawn.colors)));
    }
    rows_[t].push_back({shown, method + ": " + target.name});
    const bool empty = nothing_positive(map.map);
    const std::string broken = explainer_->not_finite(t, map);
    if (!broken.empty()) {
      fmt::print(stderr, "{}: {}: {}\n", printable(path_), method, broken);
    } else if (empty) {
      fmt::print(stderr, "{}: {} has nothing that speaks for '{}'\n", printable(path_), method,
                 target.name);
    }
    maps_.push_back({{"image", path_},
                     {"method", method},
                     {"target", target.name},
                     {"node", map.node},
                     {"value", number(map.value)},
                     {"residual", number(map.residual)},
                     {"error_estimate", number(map.error_estimate)},
                     {"forward_passes", map.forward_passes},
                     {"nothing_positive", empty},
                     {"not_finite", broken.empty() ? Json() : Json(broken)},
                     {"note", map.note},
                     {"baseline", request_.baseline_names(method)},
                     {"png", png},
                     {"npy", stem + ".npy"}});
    const Json facts = explainer_->facts(t, map);
    maps_.back().update(facts);
    std::string apart;
    if (in_f32 != nullptr && in_f32_->targets()[t].name == target.name) {
      const double share = deviation({&map.map, 1}, {&in_f32->map, 1});
      maps_.back()["deviation"] = share;
      apart = fmt::format(", {:.2g} % from f32's", 100 * share);
    }
    ++made_;
    passes_ += map.forward_passes;
    if (tabular()) return;
    command_.say(fmt::format("{}: {} of '{}' at {}, {}{}{}{}{}: {}", printable(path_), method,
                             target.name, map.node, forward_passes(map.forward_passes),
                             error_text(map), apart, map.note.empty() ? "" : " (" + map.note + ")",
                             explainer_->remark(facts),
                             printable(png.empty() ? stem + ".npy" : png)));
  }

  void score(const std::string& method, const std::vector<explain::Attribution>& results,
             const explain::ExplainOptions& settings) {
    const auto panels = explainer_->score(method, results, settings);
    for (std::size_t t = 0; t < panels.size(); ++t) {
      if (!panels[t]) continue;
      panels_[t].push_back({method, *panels[t]});
      maps_[maps_.size() - panels.size() + t]["quality"] =
          quality::quality_json(*panels[t], explainer_->metrics());
    }
  }

  void score_controls(std::size_t t) {
    for (const quality::PanelRow& row : explainer_->score_controls(t)) {
      panels_[t].push_back(row);
      controls_.push_back({{"image", path_},
                           {"box", stem_of(t)},
                           {"control", row.method},
                           {"target", explainer_->targets()[t].name},
                           {"quality", quality::quality_json(row.panel, explainer_->metrics())}});
      if (explainer_->targets()[t].group.empty()) controls_.back().erase("box");
    }
    const std::string title =
        explainer_->targets()[t].group.empty() ? "" : printable(stem_of(t)) + ":\n";
    command_.say("\n" + title + quality::to_text(panels_[t], explainer_->metrics()));
  }

  const Run& run_;
  const ExplainCommand& command_;
  const ExplanationRequest& request_;
  std::unique_ptr<PictureExplainer> explainer_;
  std::unique_ptr<PictureExplainer> in_f32_;  // of maps in another precision
  std::vector<std::string> methods_;
  // Of the picture that is looked at.
  std::string path_, stem_;
  std::vector<std::vector<SheetCell>> rows_;            // of the sheet, one per target
  std::vector<std::vector<quality::PanelRow>> panels_;  // likewise
  // Of all pictures.
  Json maps_ = Json::array(), controls_ = Json::array();
  std::vector<SheetCell> sheet_;
  std::size_t per_row_ = 1;
  std::vector<StoredTensor> stored_;
  std::set<std::string> left_out_, stems_;
  bool headed_ = false;    // the table of many pictures
  std::int64_t made_ = 0;  // of the row that comes next
  double passes_ = 0;
  BadPictures bad_;
};

}  // namespace

Explained explain_pictures(const Run& run, const ExplainCommand& command) {
  Maps maps(run, command);
  for (const std::string& path : command.pictures) maps.look_at(path);
  return maps.finish();
}

void expect_apart(InputFiles inputs, const std::vector<std::string>& pictures,
                  const std::string& out) {
  std::vector<std::string> stems;
  for (const std::string& image : pictures) {
    // Of "t10k-pictures-idx3-ubyte[12]" the file.
    std::error_code error;
    inputs.add(fs::exists(image, error) ? image : image.substr(0, image.rfind('[')));
    stems.push_back(fs::path(image).stem().string());
  }
  std::set<std::string> methods;
  for (const auto& list :
       {explain::all_methods(), explain::particular_methods(), explain::other_methods()}) {
    for (const explain::Method& method : list) methods.emplace(method.name);
  }
  inputs.expect_apart("--out", out, [&](const std::string& name) {
    // sheet.png, scores.json, pgd.png; of each picture rose.saliency.png, rose.box-0.odam.npy.
    const std::string stem = fs::path(name).stem().string();
    if (stem == "sheet" || stem == "scores" || stem == "maps" || methods.contains(stem)) {
      return true;
    }
    const std::string method = fs::path(stem).extension().string();
    return !method.empty() && methods.contains(method.substr(1)) &&
           std::any_of(stems.begin(), stems.end(),
                       [&](const std::string& of) { return stem.starts_with(of); });
  });
}

}  // namespace tapescope::tasks
