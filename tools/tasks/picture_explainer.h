// The numbers of a model's answer to a picture, and every explanation of them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/explanation/ledger.h"
#include "tools/explanation/request.h"
#include "tools/quality/panel.h"

namespace tapescope::tasks {

// Of a detector: which boxes, and what of them.
struct BoxChoice {
  std::string box;             // of `detect`'s list, from 0, or "all"; empty: the surest
  std::string at;              // "X,Y" in the picture's pixels: the cell there, whatever its score
  bool missed = false;         // annotated objects that no box finds
  std::string side = "score";  // or left, top, right, bottom: how far that side is away
  double threshold = 0.3, nms = 0;  // of the list
};

struct ExplainOptions {
  ExplanationRequest request = {};
  Backend backend = {};
  bool score = false;     // scores will be asked for
  std::string data = {};  // annotations of the pictures, where the task has any; may be empty
  BoxChoice boxes = {};
};

// What of an answer is explained.
struct Target {
  std::string name;   // for people: the class, or a side of a box
  std::string label;  // of its files; empty where a picture has one target
  std::string group;  // scores are means over targets of one group; "" where all are one
};

enum class Choose : unsigned char {
  asked,  // as the options say
  right,  // what is known to be right, or else the answer: what explanations are judged by
};

// Looks at one picture after the other; what is asked is of the last one.
class PictureExplainer {
 public:
  virtual ~PictureExplainer() = default;
  // Throws a usage error that names the file where it cannot be read, and where an option asks for
  // what is not there.
  virtual void look_at(const std::string& path, Choose choose) = 0;
  // White where the cause is, of the picture's size; asked for after look_at.
  virtual quality::Mask read_mask(const std::string& path) const = 0;
  virtual void use_mask(const quality::Mask& mask) = 0;

  const Picture& picture() const { return picture_; }  // maps lie over `image`
  const std::vector<Target>& targets() const { return targets_; }
  // Sentences about what was chosen: what became of a box.
  virtual std::vector<std::string> remarks() const { return {}; }
  // The methods that the request names.
  virtual std::vector<std::string> methods() const = 0;

  // One per target. Throws a usage error where the method does not apply.
  virtual std::vector<explain::Attribution> explain(const std::string& method,
                                                    const explain::ExplainOptions& settings) = 0;
  // A sentence where a score or map is not finite; else nothing.
  virtual std::string not_finite(std::size_t target, const explain::Attribution& map) = 0;
  // What else is known of a map: more of its JSON; and the end of its line for people, from that.
  virtual nlohmann::ordered_json facts(std::size_t target, const explain::Attribution& map) const;
  virtual std::string remark(const nlohmann::ordered_json& /*facts*/) const { return ""; }
  // Marks in a picture what is explained.
  virtual void mark(Image&, std::size_t) const {}

  // Scores of maps as explain() gave them, one per target; nothing for a map over no picture.
  virtual std::span<const quality::MetricInfo> metrics() const = 0;
  virtual std::vector<std::optional<quality::Panel>> score(
      const std::string& method, std::span<const explain::Attribution> maps,
      const explain::ExplainOptions& settings) = 0;
  // Those of maps that know nothing.
  virtual std::vector<quality::PanelRow> score_controls(std::size_t target) = 0;

  // Whether what is explained is a class's score, which the following is of.
  virtual bool of_classes() const { return false; }
  virtual LedgerTable ledger(const std::string&, const explain::ExplainOptions&) { return {}; }
  // Maps that were scored, made again by nets whose layers become random one after the other, from
  // the output down.
  virtual void keep_for_cascade(const explain::Attribution&, const explain::ExplainOptions&) {}
  virtual void run_cascade() {}
  virtual nlohmann::ordered_json cascade_json() const;
  virtual std::string cascade_text() const { return ""; }

 protected:
  Picture picture_;
  std::vector<Target> targets_;
};

}  // namespace tapescope::tasks
