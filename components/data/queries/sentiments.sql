-- Reviews of each sentiment, their share of all, and their mean rating
SELECT
  sentiment,
  count(*) AS reviews,
  CAST(count(*) AS DOUBLE) / sum(count(*)) OVER () AS share,
  avg(rating) AS mean_rating
FROM reviews
GROUP BY sentiment
ORDER BY sentiment
