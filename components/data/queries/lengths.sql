-- Characters and words (by their spaces) of the reviews of each rating
SELECT
  rating,
  count(*) AS reviews,
  round(avg(length(review_body)), 1) AS mean_characters,
  max(length(review_body)) AS most_characters,
  round(avg(length(review_body) - length(replace(review_body, ' ', '')) + 1), 1) AS mean_words
FROM reviews
GROUP BY rating
ORDER BY rating
