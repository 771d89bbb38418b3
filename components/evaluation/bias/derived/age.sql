-- The reviewer's age in bands. A file here is a facet: an SQL expression over the prepared reviews.
case
  when age is null then null
  when age < 25 then 'below 25'
  when age < 35 then '25 to 34'
  when age < 45 then '35 to 44'
  when age < 55 then '45 to 54'
  when age < 65 then '55 to 64'
  else '65 and above'
end
